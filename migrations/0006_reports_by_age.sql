-- The relay looks for reports that nobody makes any more, and for old ones, every minute.

CREATE INDEX reports_by_age ON reports (created_at);
