-- What was bought, as it was called then: products change their names. NULL where the code before placed the order.
-- And the units that came back after delivery. Columns with defaults are added at once, however long the table is; a CHECK would copy it.
ALTER TABLE order_items
    ADD COLUMN sku VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NULL,
    ADD COLUMN name VARCHAR(200) NULL,
    ADD COLUMN returned INT UNSIGNED NOT NULL DEFAULT 0;
