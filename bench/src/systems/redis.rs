//! Redis with a script: a lock with an expiry, and a counter that is its fence. One connection per client.
//!
//! Who waits blocks on a list that the release fills (`BLPOP`), as python-redis-lock does it, and at the latest until
//! the lock's expiry. Without contention the release does not fill it, which is the shortest script that is right.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Instant;

use ::redis::aio::{MultiplexedConnection, PubSubStream};
use ::redis::io::tcp::TcpSettings;
use ::redis::{AsyncCommands, AsyncConnectionConfig, ConnectionAddr, IntoConnectionInfo, Script};
use anyhow::{Context, Result, ensure};
use async_trait::async_trait;
use futures_util::StreamExt;

use super::{Client, Observer, Options, Publisher, millis};

/// Answers with the token, or with minus the milliseconds until the holder's expiry.
const ACQUIRE: &str = "
local left = redis.call('PTTL', KEYS[1])
if left ~= -2 then return -left end
local token = redis.call('INCR', KEYS[2])
redis.call('SET', KEYS[1], token, 'PX', ARGV[1])
return token";

const RELEASE: &str = "
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('DEL', KEYS[1])
return 1";

const RELEASE_AND_SIGNAL: &str = "
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('DEL', KEYS[2])
redis.call('LPUSH', KEYS[2], 1)
redis.call('PEXPIRE', KEYS[2], ARGV[2])
redis.call('DEL', KEYS[1])
return 1";

const RENEW: &str = "
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])";

pub(super) struct Redis {
    connection: MultiplexedConnection,
    ttl_ms: u64,
    contended: bool,
    acquire: Script,
    release: Script,
    renew: Script,
    lease_started: Instant,
    held: HashMap<String, u64>,
}

impl Redis {
    pub(super) async fn connect(addr: SocketAddr, options: &Options) -> Result<Self> {
        Ok(Self {
            connection: connection(addr).await?,
            ttl_ms: millis(options.ttl),
            contended: options.contended,
            acquire: Script::new(ACQUIRE),
            release: Script::new(if options.contended { RELEASE_AND_SIGNAL } else { RELEASE }),
            renew: Script::new(RENEW),
            lease_started: Instant::now(),
            held: HashMap::new(),
        })
    }
}

fn signal(name: &str) -> String {
    format!("signal:{name}")
}

#[async_trait]
impl Client for Redis {
    async fn acquire(&mut self, name: &str) -> Result<u64> {
        loop {
            self.lease_started = Instant::now();
            let mut call = self.acquire.key(name);
            let answer: i64 = call.key("fence").arg(self.ttl_ms).invoke_async(&mut self.connection).await?;
            if let Ok(token) = u64::try_from(answer)
                && token > 0
            {
                self.held.insert(name.to_owned(), token);
                return Ok(token);
            }
            // In its last millisecond a lock has 0 ms left, which BLPOP would take for "for ever".
            #[expect(clippy::cast_precision_loss, reason = "below a day")]
            let left_s = (answer.unsigned_abs() + 1) as f64 / 1000.0;
            let _: Option<(String, u64)> = self.connection.blpop(signal(name), left_s).await?;
        }
    }

    async fn release(&mut self, name: &str) -> Result<()> {
        let token = self.held.remove(name).context("not held")?;
        let mut call = self.release.key(name);
        if self.contended {
            call.key(signal(name));
        }
        let released: u64 = call.arg(token).arg(self.ttl_ms).invoke_async(&mut self.connection).await?;
        ensure!(released == 1, "the lock was lost before its release");
        Ok(())
    }

    fn lease_started(&self) -> Instant {
        self.lease_started
    }

    async fn renew(&mut self) -> Result<()> {
        let mut pipe = ::redis::pipe();
        for (name, token) in &self.held {
            pipe.cmd("EVALSHA").arg(self.renew.get_hash()).arg(1).arg(name).arg(*token).arg(self.ttl_ms);
        }
        // The script has to be known before the pipeline calls it by its hash.
        self.renew.load_async(&mut self.connection).await?;
        let renewed: Vec<u64> = pipe.query_async(&mut self.connection).await?;
        ensure!(renewed.iter().all(|answer| *answer == 1), "a lock was lost before its renewal");
        Ok(())
    }

    async fn close(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}

const CHANNEL: &str = "observed";

pub(super) struct Subscriber(PubSubStream);

impl Subscriber {
    pub(super) async fn connect(addr: SocketAddr) -> Result<Self> {
        let (mut sink, stream) = client(addr)?.get_async_pubsub().await?.split();
        sink.subscribe(CHANNEL).await?;
        Ok(Self(stream))
    }
}

#[async_trait]
impl Observer for Subscriber {
    async fn change(&mut self) -> Result<u64> {
        let message = self.0.next().await.context("the subscription ended")?;
        Ok(message.get_payload::<String>()?.parse()?)
    }
}

pub(super) struct Writer(MultiplexedConnection);

impl Writer {
    pub(super) async fn connect(addr: SocketAddr) -> Result<Self> {
        Ok(Self(connection(addr).await?))
    }
}

#[async_trait]
impl Publisher for Writer {
    async fn publish(&mut self, number: u64) -> Result<()> {
        // The write makes it a change of something that lasts; the message tells of it.
        let mut pipe = ::redis::pipe();
        pipe.atomic().set("observed", number).ignore().publish(CHANNEL, number).ignore();
        Ok(pipe.query_async(&mut self.0).await?)
    }
}

fn client(addr: SocketAddr) -> Result<::redis::Client> {
    let info = ConnectionAddr::Tcp(addr.ip().to_string(), addr.port()).into_connection_info()?;
    Ok(::redis::Client::open(info.set_tcp_settings(TcpSettings::default().set_nodelay(true)))?)
}

async fn connection(addr: SocketAddr) -> Result<MultiplexedConnection> {
    let config = AsyncConnectionConfig::new().set_response_timeout(None);
    Ok(client(addr)?.get_multiplexed_async_connection_with_config(&config).await?)
}
