"""nats-py at the other end: core NATS, and JetStream where the transport is that."""

import asyncio

import nats
from common import ACTION, ADDRESS, NAME, PATIENCE, PATTERN, given, got, say


async def main():
    client = await nats.connect(ADDRESS, connect_timeout=PATIENCE)
    if PATTERN == "queue":
        await stream(client.jetstream(timeout=PATIENCE))
    elif ACTION in ("send", "publish"):
        for topic, body in given():
            await client.publish(NAME if topic == "-" else f"{NAME}.{topic}", body)
        await client.flush(timeout=PATIENCE)
    else:
        subscription = await client.subscribe(NAME if ACTION == "receive" else f"{NAME}.>")
        await client.flush(timeout=PATIENCE)
        say("ready")
        async for message in subscription.messages:
            topic = message.subject.removeprefix(f"{NAME}.") if ACTION == "subscribe" else "-"
            if got(topic, message.data):
                break
    await client.close()


async def stream(jetstream):
    if ACTION == "send":
        for _, body in given():
            await jetstream.publish(NAME, body)
        return
    # The lab's own durable consumer: whoever asks it gets the next.
    name = await jetstream.find_stream_name_by_subject(NAME)
    (consumer,) = await jetstream.consumers_info(name)
    puller = await jetstream.pull_subscribe_bind(consumer.name, name)
    say("ready")
    last = False
    while not last:
        for message in await puller.fetch(1, timeout=PATIENCE):
            await message.ack_sync()
            last = got("-", message.data)


asyncio.run(main())
