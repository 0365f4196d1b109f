//! The scripts on a Redis server.

use raceproof::fence::kit::{self, BoxError, Resource, Verdict};
use raceproof::fence::redis::{CLAIM, SET, fence_key, guarded, stale};
use raceproof::fence::{Stale, Token};
use redis::aio::MultiplexedConnection;
use redis::{AsyncCommands, RedisError, RedisResult, Script};

async fn connect() -> Option<MultiplexedConnection> {
    let address = crate::server("RACEPROOF_TEST_REDIS")?;
    Some(reconnect(&address).await.unwrap())
}

async fn reconnect(address: &str) -> RedisResult<MultiplexedConnection> {
    redis::Client::open(address)?.get_multiplexed_async_connection().await
}

/// A script that is given `None` for its first key takes the next one for it, so that is none here.
fn fence_of(key: &str) -> String {
    fence_key(key).unwrap()
}

fn read_stale(error: &RedisError, token: Token) -> Option<Stale> {
    stale(error.code()?, error.detail().unwrap_or_default(), token)
}

struct Cell {
    connection: MultiplexedConnection,
    key: &'static str,
}

impl Resource for Cell {
    async fn write(&self, token: Token, value: &str) -> Result<Verdict, BoxError> {
        let set = Script::new(SET);
        let mut call = set.key(fence_of(self.key));
        call.key(self.key).arg(token.as_u64()).arg(value);
        match call.invoke_async::<()>(&mut self.connection.clone()).await {
            Ok(()) => Ok(Verdict::Accepted),
            Err(error) if read_stale(&error, token).is_some() => Ok(Verdict::Refused),
            Err(error) => Err(error.into()),
        }
    }

    async fn read(&self) -> Result<Option<String>, BoxError> {
        Ok(self.connection.clone().get(self.key).await?)
    }

    async fn reopen(&mut self) -> Result<(), BoxError> {
        // As after a restart of the server, too: it has forgotten its scripts.
        let () = redis::cmd("SCRIPT").arg("FLUSH").query_async(&mut self.connection).await?;
        self.connection = reconnect(&crate::server("RACEPROOF_TEST_REDIS").unwrap()).await?;
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l9_redis_passes_the_kit() {
    let Some(connection) = connect().await else { return };
    kit::replay(Cell { connection, key: "kit" }, Token::new(1)).await.into_result().unwrap();
}

async fn claim(connection: &mut MultiplexedConnection, key: &str, token: &str) -> RedisResult<String> {
    Script::new(CLAIM).key(fence_of(key)).arg(token).invoke_async(connection).await
}

#[tokio::test]
async fn l9_a_refusal_names_the_newest_token_exactly() {
    let Some(mut connection) = connect().await else { return };
    assert_eq!(claim(&mut connection, "exact", &Token::MAX.to_string()).await.unwrap(), "OK");
    let token = Token::new(Token::MAX.as_u64() - 1);
    let error = claim(&mut connection, "exact", &token.to_string()).await.unwrap_err();
    assert_eq!(read_stale(&error, token), Some(Stale { token, newest: Token::MAX }));
}

#[tokio::test]
async fn what_is_no_token_is_refused_and_is_not_taken_for_stale() {
    let Some(mut connection) = connect().await else { return };
    for text in ["", "0", "-1", "1.5", "1e3", "0x10", "nan", "9007199254740992", "99999999999999999999999"] {
        let error = claim(&mut connection, "range", text).await.unwrap_err();
        assert_eq!(error.code(), Some("RACEPROOF_TOKEN"), "{text:?}");
        assert_eq!(read_stale(&error, Token::new(1)), None);
    }
    let exists: bool = connection.exists(fence_of("range")).await.unwrap();
    assert!(!exists);
}

#[tokio::test]
async fn l9_a_script_of_ones_own_runs_under_the_fence() {
    let Some(mut connection) = connect().await else { return };
    let add = Script::new(&guarded("return redis.call('INCRBY', KEYS[2], ARGV[2])"));
    let mut counts = Vec::new();
    for token in [5, 6, 5, 6] {
        let mut call = add.key(fence_of("count"));
        counts.push(call.key("count").arg(token).arg(10).invoke_async::<i64>(&mut connection).await.ok());
    }
    assert_eq!(counts, [Some(10), Some(20), None, Some(30)]);
}

/// The slot of a key, as Redis Cluster specifies it: CRC-16 (XMODEM) of the hash tag, or of the whole key.
fn slot(key: &str) -> u16 {
    let tag = key.split_once('{').and_then(|(_, rest)| rest.split_once('}')).map(|(tag, _)| tag);
    let hashed = tag.filter(|tag| !tag.is_empty()).unwrap_or(key);
    let crc = hashed.bytes().fold(0_u16, |crc, byte| {
        (0..8).fold(crc ^ u16::from(byte) << 8, |crc, _| if crc & 0x8000 == 0 { crc << 1 } else { crc << 1 ^ 0x1021 })
    });
    crc % 16384
}

#[test]
fn a_fence_is_in_the_cluster_slot_of_its_data() {
    assert_eq!(slot("123456789"), 0x31c3);
    for key in ["a", "orders:7", "{shop}:orders", "x{shop}y", "{", "a{b", "{}{x}", "ä"] {
        if let Some(fence) = fence_key(key) {
            assert_eq!(slot(&fence), slot(key), "{key}");
            assert_ne!(fence, key);
        }
    }
    assert!(fence_key("a").is_some() && fence_key("{shop}:orders").is_some() && fence_key("{").is_some());
    assert_eq!(fence_key("{}{x}"), None);
}
