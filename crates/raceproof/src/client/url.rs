//! A server's address as people write it.

use crate::error::ConnectError;

/// The port of a server that is named without a scheme and without a port.
const PORT: u16 = 7117;

/// Where a server listens.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Address {
    /// Without brackets.
    pub(crate) host: String,
    pub(crate) port: u16,
    /// The host and port as they stand in a `Host` header.
    pub(crate) authority: String,
    /// What comes before `/v1`, without a slash at its end.
    pub(crate) prefix: String,
}

impl Address {
    /// Reads `http://host:port`, `ws://host:port/prefix` or `host:port`.
    pub(crate) fn parse(url: &str) -> Result<Self, ConnectError> {
        let refuse = |reason| ConnectError::Url { url: url.to_owned(), reason };
        let (rest, port_default) = match url.split_once("://") {
            Some(("http" | "ws", rest)) => (rest, 80),
            Some(("https" | "wss", _)) => return Err(refuse("this client does not speak TLS; use a local proxy")),
            Some(_) => return Err(refuse("the scheme is not http or ws")),
            None => (url, PORT),
        };
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        if authority.contains('@') {
            return Err(refuse("credentials go into the token, not into the address"));
        }
        if path.contains(['?', '#', ' ']) {
            return Err(refuse("an address has no query, fragment or space"));
        }
        let (host, port) = match authority.strip_prefix('[') {
            Some(v6) => {
                let (host, after) = v6.split_once(']').ok_or_else(|| refuse("a bracket is missing"))?;
                (host, after.strip_prefix(':').or(if after.is_empty() { None } else { Some(after) }))
            }
            None => match authority.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (authority, None),
            },
        };
        if host.is_empty() || host.contains([' ', '\r', '\n', '?', '#']) {
            return Err(refuse("the host is missing or unreadable"));
        }
        let port = match port {
            Some(port) => port.parse().map_err(|_| refuse("the port is not a number from 0 to 65535"))?,
            None => port_default,
        };
        let bracketed = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
        let path = path.trim_end_matches('/');
        Ok(Self {
            host: host.to_owned(),
            port,
            authority: format!("{bracketed}:{port}"),
            prefix: if path.is_empty() { String::new() } else { format!("/{path}") },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_people_write_them() {
        let cases = [
            ("http://127.0.0.1:7117", "127.0.0.1", 7117, "127.0.0.1:7117", ""),
            ("ws://example.org", "example.org", 80, "example.org:80", ""),
            ("localhost", "localhost", 7117, "localhost:7117", ""),
            ("localhost:9", "localhost", 9, "localhost:9", ""),
            ("http://[::1]:80/locks/", "::1", 80, "[::1]:80", "/locks"),
            ("[::1]", "::1", 7117, "[::1]:7117", ""),
        ];
        for (url, host, port, authority, prefix) in cases {
            let address = Address::parse(url).expect(url);
            assert_eq!((address.host.as_str(), address.port), (host, port), "{url}");
            assert_eq!((address.authority.as_str(), address.prefix.as_str()), (authority, prefix), "{url}");
        }
    }

    #[test]
    fn what_is_not_an_address_is_refused() {
        for url in
            ["", "http://", "ftp://a", "https://a", "a:b", "a:99999", "u@a", "http://a/?q", "[::1", "[::1]x", "a b"]
        {
            assert!(Address::parse(url).is_err(), "{url:?} was read as {:?}", Address::parse(url));
        }
    }
}
