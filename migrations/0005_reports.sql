-- Reports that somebody asked for, and what came of them.

CREATE TABLE reports (
    id BINARY(16) NOT NULL PRIMARY KEY,
    -- Who asked.
    user_id BINARY(16) NOT NULL,
    -- Which orders: those created from here until before there.
    from_time DATETIME(6) NOT NULL,
    to_time DATETIME(6) NOT NULL,
    status VARCHAR(16) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    -- Who is working on it, and until when that is believed. NULL unless it is running.
    fencing_token BINARY(16) NULL,
    leased_until DATETIME(6) NULL,
    -- What was found, as JSON text; or why nothing could be.
    result MEDIUMTEXT NULL,
    failure VARCHAR(500) NULL,
    created_at DATETIME(6) NOT NULL,
    finished_at DATETIME(6) NULL,
    CONSTRAINT reports_status CHECK (status IN ('queued', 'running', 'done', 'failed'))
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4;

-- The orders of a span of time, a chunk at a time.
CREATE INDEX orders_by_age ON orders (created_at, id);
