-- What was bought, as it was called then: products change their names. NULL where the code before placed the order.
ALTER TABLE order_items
    ADD COLUMN sku VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NULL,
    ADD COLUMN name VARCHAR(200) NULL,
    -- Units that came back after delivery.
    ADD COLUMN returned INT UNSIGNED NOT NULL DEFAULT 0,
    ADD CONSTRAINT order_items_returned CHECK (returned <= quantity);
