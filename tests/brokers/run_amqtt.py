"""amqtt as the tests run it: asks the gate by status whether a client may connect, publish, subscribe and receive.

Usage: run_amqtt.py MQTT_PORT GATE_PORT json|form
"""

import asyncio
import sys

from amqtt.broker import Broker
from amqtt.contrib.http import ParamsMode, RequestMethod, ResponseMode

mqtt, gate, params = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
http = {
    "host": "127.0.0.1",
    "port": gate,
    "request_method": RequestMethod.POST,
    "params_mode": ParamsMode(params),
    "response_mode": ResponseMode.STATUS,
}
config = {
    "listeners": {"default": {"type": "tcp", "bind": f"127.0.0.1:{mqtt}"}},
    "plugins": {
        "amqtt.contrib.http.UserAuthHttpPlugin": {**http, "user_uri": "/mqtt/auth"},
        "amqtt.contrib.http.TopicAuthHttpPlugin": {**http, "topic_uri": "/mqtt/acl"},
    },
}


async def main():
    await Broker(config).start()
    print("ready", flush=True)
    await asyncio.Event().wait()


asyncio.run(main())
