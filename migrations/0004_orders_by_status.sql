-- Lists of everybody's orders with one status, the newest first.

CREATE INDEX orders_by_status ON orders (status, id);
