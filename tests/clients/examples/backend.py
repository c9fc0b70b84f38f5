"""Offers the procedure com.myapp.add2 and says hello to com.myapp.hello every second.

    pip install autobahn
    python backend.py [ws://127.0.0.1:8080/ws]
"""

import asyncio
import sys

from autobahn.asyncio.component import Component, run

url = sys.argv[1] if len(sys.argv) > 1 else "ws://127.0.0.1:8080/ws"
component = Component(transports=url, realm="realm1")


@component.register("com.myapp.add2")
def add2(a, b):
    return a + b


@component.on_join
async def joined(session, details):
    print("registered com.myapp.add2")
    count = 0
    while session.is_connected():
        await asyncio.sleep(1)
        count += 1
        session.publish("com.myapp.hello", f"Hello from Python, number {count}")


run([component])
