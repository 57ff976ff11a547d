-- Why an order was cancelled, and by which user. NULL where no reason was given, and where the code before cancelled it.
ALTER TABLE orders
    ADD COLUMN cancel_reason VARCHAR(200) NULL,
    ADD COLUMN cancelled_by BINARY(16) NULL;
