-- What makes a request safe to repeat, and a message safe to lose the process over.

CREATE TABLE idempotency_keys (
    user_id BINARY(16) NOT NULL,
    idempotency_key VARCHAR(255) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    endpoint VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    payload_hash BINARY(32) NOT NULL,
    -- Who is working on it, and until when that is believed. NULL once it is done.
    fencing_token BINARY(16) NULL,
    leased_until DATETIME(6) NULL,
    status SMALLINT UNSIGNED NULL,
    body MEDIUMTEXT NULL,
    created_at DATETIME(6) NOT NULL,
    PRIMARY KEY (user_id, idempotency_key),
    KEY idempotency_keys_by_age (created_at)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4;

CREATE TABLE outbox (
    id BINARY(16) NOT NULL PRIMARY KEY,
    queue VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    -- What is sent, as JSON text: the envelope with its id, trace context and message.
    envelope MEDIUMTEXT NOT NULL,
    attempts INT UNSIGNED NOT NULL,
    -- Not looked at before this time: a lease while somebody sends it, a pause after a failure.
    available_at DATETIME(6) NOT NULL,
    locked_by BINARY(16) NULL,
    last_error VARCHAR(500) NULL,
    created_at DATETIME(6) NOT NULL,
    sent_at DATETIME(6) NULL,
    KEY outbox_due (sent_at, available_at)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4;

CREATE TABLE processed_messages (
    consumer VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    message_id BINARY(16) NOT NULL,
    -- NULL while the effect is under way; then the lease says for how long.
    done_at DATETIME(6) NULL,
    leased_until DATETIME(6) NOT NULL,
    PRIMARY KEY (consumer, message_id),
    KEY processed_messages_by_age (done_at)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4;
