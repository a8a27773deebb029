"""pika, RabbitMQ's own Python client, at the other end."""

import pika
from common import ACTION, ADDRESS, COUNT, NAME, PATIENCE, PATTERN, given, got, say

parameters = pika.URLParameters(ADDRESS.split("#")[0])
parameters.socket_timeout = parameters.stack_timeout = PATIENCE
connection = pika.BlockingConnection(parameters)
channel = connection.channel()

if ACTION == "publish":
    for topic, body in given():
        channel.basic_publish(NAME, topic, body)
elif ACTION == "subscribe":
    queue = channel.queue_declare("", exclusive=True).method.queue
    channel.queue_bind(queue, NAME, "#")
    say("ready")
    for delivery, _, body in channel.consume(queue, auto_ack=True):
        if got(delivery.routing_key, body):
            break
elif ACTION == "send":
    # On a queue, each is confirmed before the next: an error if it is not.
    if PATTERN == "queue":
        channel.confirm_delivery()
    persistent = pika.BasicProperties(delivery_mode=2)
    for _, body in given():
        channel.basic_publish("", NAME, body, persistent, mandatory=True)
elif ACTION == "receive":
    channel.basic_qos(prefetch_count=COUNT)
    say("ready")
    for delivery, _, body in channel.consume(NAME):
        channel.basic_ack(delivery.delivery_tag)
        if got("-", body):
            break
connection.close()
