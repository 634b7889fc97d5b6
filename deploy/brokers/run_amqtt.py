"""amqtt with mqtt-gate, which decides by HTTP status whether a client may connect, publish, subscribe and receive.

This is Python because a configuration file of amqtt 0.12 cannot configure the HTTP plugin: the plugin
requires enum members and rejects their names. Needs `pip install amqtt aiohttp sqlalchemy`.
The tests of mqtt-gate run amqtt with this file.

Usage: run_amqtt.py [MQTT_PORT [GATE_PORT [json|form]]]
"""

import asyncio
import sys

from amqtt.broker import Broker
from amqtt.contrib.http import ParamsMode, RequestMethod, ResponseMode

mqtt, gate, params = (sys.argv[1:] + ["1883", "8003", "json"][len(sys.argv) - 1 :])[:3]
http = {
    "host": "127.0.0.1",
    "port": int(gate),
    "request_method": RequestMethod.POST,
    "params_mode": ParamsMode(params),
    "response_mode": ResponseMode.STATUS,
}
config = {
    "listeners": {"default": {"type": "tcp", "bind": f"127.0.0.1:{mqtt}"}},
    # No other plugins: amqtt reads a 503 as "no opinion", and another plugin could allow a client.
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
