//! Which web pages may call. A browser sends `Origin` with what a page asks for; a page that is not ours and not
//! listed is refused before anything else is looked at. On a loopback listener the `Host` must be one of ours, too:
//! a foreign name there is a page that pointed its own name at this machine (DNS rebinding), and would pass for
//! same-origin.

use std::net::IpAddr;

/// What `Host` and `Origin` are held against.
#[derive(Clone, Debug)]
pub(crate) struct Origins {
    allowed: Vec<String>,
    hosts: Vec<String>,
    loopback: bool,
}

/// What a request's origin may do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Verdict {
    /// Not from a web page, or from our own.
    Own,
    /// From a page whose origin is listed: the answer says so to its browser.
    Listed,
    /// Not to be served; says what to do.
    Denied(&'static str),
}

impl Origins {
    pub(crate) fn new(allowed: &[String], hosts: &[String], listen: IpAddr) -> Self {
        Self {
            allowed: allowed.iter().map(|origin| origin.trim_end_matches('/').to_ascii_lowercase()).collect(),
            hosts: hosts.iter().map(|host| host.to_ascii_lowercase()).collect(),
            loopback: listen.is_loopback(),
        }
    }

    /// Judges one request by its headers.
    pub(crate) fn judge(&self, host: Option<&str>, origin: Option<&str>) -> Verdict {
        if self.loopback && !host.is_some_and(|host| self.is_own_host(host)) {
            return Verdict::Denied(
                "the Host header names another server than this one; use localhost, or start with --allow-host",
            );
        }
        let Some(origin) = origin else { return Verdict::Own };
        let origin = origin.to_ascii_lowercase();
        if self.allowed.contains(&origin) {
            return Verdict::Listed;
        }
        // The server speaks plain HTTP; behind a proxy that adds TLS its own page comes from https.
        let authority = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
        match (authority, host) {
            (Some(authority), Some(host)) if authority == host.to_ascii_lowercase() => Verdict::Own,
            _ => Verdict::Denied("this origin may not call; start the server with --allow-origin to let it"),
        }
    }

    fn is_own_host(&self, host: &str) -> bool {
        let host = host.to_ascii_lowercase();
        let name = without_port(&host);
        let literal = name.trim_start_matches('[').trim_end_matches(']');
        name == "localhost"
            || literal.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
            || self.hosts.iter().any(|own| own == name || *own == host)
    }
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) && !name.ends_with(':') => {
            if name.contains(':') && !name.starts_with('[') { host } else { name }
        }
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origins() -> Origins {
        Origins::new(
            &["https://ops.example.org".to_owned()],
            &["hub.internal".to_owned()],
            IpAddr::from([127, 0, 0, 1]),
        )
    }

    #[test]
    fn own_hosts_pass_on_loopback_and_others_are_rebinding() {
        for own in ["localhost", "localhost:7117", "127.0.0.1:7117", "127.8.0.1", "[::1]:7117", "HUB.internal:80"] {
            assert_eq!(origins().judge(Some(own), None), Verdict::Own, "{own}");
        }
        for foreign in ["evil.example", "localhost.evil.example:7117", "127.0.0.1.evil.example", "10.0.0.1", ""] {
            assert!(matches!(origins().judge(Some(foreign), None), Verdict::Denied(_)), "{foreign}");
        }
        assert!(matches!(origins().judge(None, None), Verdict::Denied(_)));
        let open = Origins::new(&[], &[], IpAddr::from([0, 0, 0, 0]));
        assert_eq!(open.judge(Some("anything.example"), None), Verdict::Own);
    }

    #[test]
    fn near_misses_of_an_allowed_origin_are_denied() {
        let host = Some("localhost:7117");
        assert_eq!(origins().judge(host, Some("https://ops.example.org")), Verdict::Listed);
        assert_eq!(origins().judge(host, Some("HTTPS://OPS.example.org")), Verdict::Listed);
        assert_eq!(origins().judge(host, Some("http://localhost:7117")), Verdict::Own);
        for near in [
            "http://ops.example.org",
            "https://ops.example.org:444",
            "https://ops.example.org.evil.example",
            "https://evil-ops.example.org",
            "https://ops.example.org/",
            "https://ops.example.org ",
            "http://localhost:7118",
            "http://localhost",
            "http://127.0.0.1:7117",
            "ftp://localhost:7117",
            "null",
            "",
        ] {
            assert!(matches!(origins().judge(host, Some(near)), Verdict::Denied(_)), "{near:?}");
        }
    }
}
