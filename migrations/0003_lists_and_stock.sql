-- Lists of products, and who changed their stock.
--
-- Each index begins with what every list asks for (not deleted), goes on in one order that a list can have, and ends with what
-- lists filter by: a page is found in the index alone, and costs the same wherever in the list it is.
--
-- The stock itself is in none of them: every order changes it, and would move an entry of each. Whether there is any changes with
-- the first and the last unit only.

-- Words such as "with" are parts of names too. The index remembers this setting.
SET SESSION innodb_ft_enable_stopword = OFF;

ALTER TABLE products
    ADD COLUMN is_available BOOLEAN GENERATED ALWAYS AS (stock > 0) STORED,
    ADD KEY products_newest (deleted_at, id DESC, currency, price_minor, is_available),
    ADD KEY products_by_availability (deleted_at, is_available, id DESC, currency, price_minor),
    ADD KEY products_by_name (deleted_at, name, id, currency, price_minor, is_available),
    ADD KEY products_by_price (deleted_at, currency, price_minor, id, is_available),
    ADD FULLTEXT KEY products_words (name);

SET SESSION innodb_ft_enable_stopword = ON;

CREATE TABLE stock_adjustments (
    id BINARY(16) NOT NULL PRIMARY KEY,
    product_id BINARY(16) NOT NULL,
    delta INT NOT NULL,
    reason VARCHAR(200) NOT NULL,
    user_id BINARY(16) NOT NULL,
    created_at DATETIME(6) NOT NULL,
    KEY stock_adjustments_of_product (product_id, id),
    CONSTRAINT stock_adjustments_product FOREIGN KEY (product_id) REFERENCES products (id),
    CONSTRAINT stock_adjustments_delta CHECK (delta <> 0)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4;
