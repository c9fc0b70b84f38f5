"""uWebSockets as a plain broadcaster: what arrives on /publish goes to everybody on /subscribe.

The C++ library is the one inside the socketify package, and is driven through its C interface: its own event loop
waits, reads, fans out and writes. Python runs once for each publication and each connection, never for an event.
Run by perf/compare, with the interpreter of the environment that socketify is installed in.
"""

import signal
import sys

from socketify.native import ffi, lib

PLAIN = 0
TOPIC = b"all"


@ffi.callback("void(uws_websocket_t *, void *)")
def subscribe(socket, _):
    lib.uws_ws_subscribe(PLAIN, socket, TOPIC, len(TOPIC))


@ffi.callback("void(uws_websocket_t *, const char *, size_t, uws_opcode_t, void *)")
def publish(_socket, message, length, opcode, _):
    lib.uws_publish(PLAIN, app, TOPIC, len(TOPIC), message, length, opcode, False)


@ffi.callback("void(struct us_listen_socket_t *, uws_app_listen_config_t, void *)")
def listening(socket, _config, _):
    if socket == ffi.NULL:
        sys.exit("cannot listen")
    print(f"listening on 127.0.0.1:{lib.us_socket_local_port(PLAIN, socket)}", flush=True)


def behavior():
    behavior = ffi.new("uws_socket_behavior_t *")
    behavior.compression = lib.DISABLED
    behavior.maxPayloadLength = 16 << 20
    behavior.maxBackpressure = 0  # no bound
    behavior.idleTimeout = 0  # none
    return behavior


signal.signal(signal.SIGTERM, signal.SIG_DFL)
loop = lib.socketify_create_loop()
lib.uws_get_loop_with_native(lib.socketify_get_native_loop(loop))
app = lib.uws_create_app(PLAIN, ffi.new("struct us_socket_context_options_t *")[0])

subscribers = behavior()
subscribers.open = subscribe
lib.uws_ws(PLAIN, app, b"/subscribe", subscribers[0], ffi.NULL)

publishers = behavior()
publishers.message = publish
lib.uws_ws(PLAIN, app, b"/publish", publishers[0], ffi.NULL)

host = ffi.new("char[]", b"127.0.0.1")
address = ffi.new("uws_app_listen_config_t *", {"port": 0, "host": host, "options": 0})
lib.uws_app_listen_with_config(PLAIN, app, address[0], listening, ffi.NULL)
lib.socketify_loop_run(loop, lib.SOCKETIFY_RUN_DEFAULT)
