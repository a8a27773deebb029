/* The floor of the RabbitMQ labs: a client in C (librabbitmq), one process on
 * each side, no confirms and no acks, 64-byte transient messages through a
 * non-durable queue that deletes itself.
 *
 *   AMQP_URL=amqp://... amqp_floor consume|publish EXCHANGE KEY WARMUP MESSAGES
 *
 * Without an exchange, KEY is the name of the queue. The consumer says "ready"
 * and, after WARMUP and MESSAGES messages, how many of the latter it received
 * a second. */
#include <amqp.h>
#include <amqp_tcp_socket.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static void need(int good, const char *what) {
    if (!good) {
        fprintf(stderr, "amqp_floor: cannot %s\n", what);
        exit(1);
    }
}

static void answered(amqp_connection_state_t connection, const char *what) {
    need(amqp_get_rpc_reply(connection).reply_type == AMQP_RESPONSE_NORMAL, what);
}

static double seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec + now.tv_nsec / 1e9;
}

static amqp_connection_state_t join(void) {
    char *url = getenv("AMQP_URL");
    struct amqp_connection_info info;
    need(url && amqp_parse_url(strdup(url), &info) == AMQP_STATUS_OK, "read AMQP_URL");
    amqp_connection_state_t connection = amqp_new_connection();
    amqp_socket_t *socket = amqp_tcp_socket_new(connection);
    need(socket && amqp_socket_open(socket, info.host, info.port) == 0, "connect");
    amqp_rpc_reply_t reply = amqp_login(connection, info.vhost, 0, 131072, 0, AMQP_SASL_METHOD_PLAIN,
                                        info.user, info.password);
    need(reply.reply_type == AMQP_RESPONSE_NORMAL, "log in");
    amqp_channel_open(connection, 1);
    answered(connection, "open a channel");
    return connection;
}

static void publish(amqp_connection_state_t connection, amqp_bytes_t exchange, amqp_bytes_t key, int messages) {
    char body[64];
    memset(body, 'm', sizeof body);
    amqp_bytes_t bytes = {sizeof body, body};
    amqp_basic_properties_t properties = {._flags = AMQP_BASIC_DELIVERY_MODE_FLAG, .delivery_mode = 1};
    for (int sent = 0; sent < messages; sent++) {
        int status = amqp_basic_publish(connection, 1, exchange, key, 0, 0, &properties, bytes);
        need(status == AMQP_STATUS_OK, "publish");
    }
    /* An answer: all before it has been handled. */
    amqp_channel_close(connection, 1, AMQP_REPLY_SUCCESS);
}

static void consume(amqp_connection_state_t connection, amqp_bytes_t exchange, amqp_bytes_t key, int warmup,
                    int messages) {
    amqp_bytes_t queue = exchange.len ? amqp_empty_bytes : key;
    /* passive, durable, exclusive, auto-delete */
    amqp_queue_declare_ok_t *declared =
        amqp_queue_declare(connection, 1, queue, 0, 0, exchange.len != 0, 1, amqp_empty_table);
    answered(connection, "declare the queue");
    queue = amqp_bytes_malloc_dup(declared->queue);
    if (exchange.len) {
        /* passive, durable, auto-delete, internal */
        amqp_exchange_declare(connection, 1, exchange, amqp_cstring_bytes("topic"), 0, 0, 1, 0, amqp_empty_table);
        answered(connection, "declare the exchange");
        amqp_queue_bind(connection, 1, queue, exchange, key, amqp_empty_table);
        answered(connection, "bind the queue");
    }
    /* no-local, no-ack, exclusive */
    amqp_basic_consume(connection, 1, queue, amqp_empty_bytes, 0, 1, 0, amqp_empty_table);
    answered(connection, "consume");
    puts("ready");
    fflush(stdout);
    double begin = 0;
    for (int received = 0; received < warmup + messages; received++) {
        amqp_envelope_t envelope;
        amqp_maybe_release_buffers(connection);
        amqp_rpc_reply_t reply = amqp_consume_message(connection, &envelope, NULL, 0);
        need(reply.reply_type == AMQP_RESPONSE_NORMAL && envelope.message.body.len == 64, "receive");
        amqp_destroy_envelope(&envelope);
        if (received == warmup - 1) begin = seconds();
    }
    printf("%.0f\n", messages / (seconds() - begin));
    fflush(stdout);
}

int main(int argc, char **argv) {
    need(argc == 6, "go on: amqp_floor consume|publish EXCHANGE KEY WARMUP MESSAGES");
    amqp_bytes_t exchange = amqp_cstring_bytes(argv[2]), key = amqp_cstring_bytes(argv[3]);
    int warmup = atoi(argv[4]), messages = atoi(argv[5]);
    amqp_connection_state_t connection = join();
    if (strcmp(argv[1], "publish") == 0)
        publish(connection, exchange, key, warmup + messages);
    else
        consume(connection, exchange, key, warmup, messages);
    /* The connection ends with the process, and the queue with its consumer. */
    return 0;
}
