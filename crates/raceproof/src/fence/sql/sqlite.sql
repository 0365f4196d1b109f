CREATE TABLE IF NOT EXISTS raceproof_fence (
    resource TEXT NOT NULL PRIMARY KEY,
    token INTEGER NOT NULL CHECK (typeof(token) = 'integer' AND token BETWEEN 1 AND 9007199254740991)
) WITHOUT ROWID;

CREATE TRIGGER IF NOT EXISTS raceproof_fence_only_grows BEFORE UPDATE ON raceproof_fence
WHEN NEW.token < OLD.token
BEGIN
    SELECT RAISE(ABORT, 'stale fencing token: a newer one was admitted');
END;
