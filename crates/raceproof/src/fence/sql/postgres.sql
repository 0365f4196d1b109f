CREATE TABLE IF NOT EXISTS raceproof_fence (
    resource text PRIMARY KEY,
    token bigint NOT NULL CHECK (token BETWEEN 1 AND 9007199254740991)
) WITH (fillfactor = 50);

CREATE OR REPLACE FUNCTION raceproof_fence_only_grows() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.token < OLD.token THEN
        RAISE EXCEPTION 'stale fencing token % for %: % is the newest', NEW.token, OLD.resource, OLD.token
            USING ERRCODE = 'RF001';
    END IF;
    RETURN NEW;
END $$;

CREATE OR REPLACE TRIGGER raceproof_fence_only_grows BEFORE UPDATE ON raceproof_fence
    FOR EACH ROW EXECUTE FUNCTION raceproof_fence_only_grows();

CREATE OR REPLACE FUNCTION raceproof_fence(resource text, token bigint) RETURNS void LANGUAGE sql AS $$
    INSERT INTO raceproof_fence (resource, token) VALUES ($1, $2)
    ON CONFLICT (resource) DO UPDATE SET token = excluded.token
$$;
