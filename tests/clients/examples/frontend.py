"""Calls com.myapp.add2 and prints what is said to com.myapp.hello; start backend.py or backend.js first.

    pip install autobahn
    python frontend.py [ws://127.0.0.1:8080/ws]
"""

import sys

from autobahn.asyncio.component import Component, run

url = sys.argv[1] if len(sys.argv) > 1 else "ws://127.0.0.1:8080/ws"
component = Component(transports=url, realm="realm1")


@component.subscribe("com.myapp.hello")
def on_hello(greeting):
    print("event:", greeting)


@component.on_join
async def joined(session, details):
    print("2 + 3 =", await session.call("com.myapp.add2", 2, 3))


run([component])
