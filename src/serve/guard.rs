//! Who may ask: requests of this page and of programs, not those of other sites' pages.

use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderMap, HeaderName, ORIGIN};
use hyper::{Method, StatusCode};

use super::Address;

/// Why a request is turned away.
pub type Turned = (StatusCode, &'static str);

/// Who may see an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Private {
    /// Anybody: the page without its contents.
    No,
    /// The token's holder.
    Token,
    /// Who has the address, which holds a key that only the token's holder is told.
    Key,
}

/// Whether a request may be answered.
pub fn admit(
    address: &Address,
    method: &Method,
    headers: &HeaderMap,
    private: Private,
) -> Result<(), Turned> {
    let text = |name: HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    let host = text(HOST).unwrap_or_default();
    // A name that another site points here would make its page this one's (DNS rebinding). Where
    // there is a token, such a page does not have it.
    if address.token.is_none() && !is_this_machine(host) {
        return Err((
            StatusCode::FORBIDDEN,
            "this address is served under 127.0.0.1 and localhost only",
        ));
    }
    if let Some(origin) = text(ORIGIN) {
        let own = origin.strip_prefix("http://") == Some(host);
        let through = origin.strip_prefix("https://") == Some(host) && address.token.is_some();
        if !own && !through {
            return Err((StatusCode::FORBIDDEN, "another site's page may not ask"));
        }
    }
    let site = text(HeaderName::from_static("sec-fetch-site"));
    if private != Private::No && matches!(site, Some("cross-site" | "same-site")) {
        return Err((StatusCode::FORBIDDEN, "another site's page may not ask"));
    }
    if let (Private::Token, Some(token)) = (private, &address.token) {
        let given = text(AUTHORIZATION).and_then(|value| value.strip_prefix("Bearer "));
        if !given.is_some_and(|given| same(given.as_bytes(), token.as_bytes())) {
            return Err((
                StatusCode::UNAUTHORIZED,
                "give the token that midlayer serve printed: Authorization: Bearer TOKEN",
            ));
        }
    }
    // Forms of other sites cannot have this type.
    let kind = text(CONTENT_TYPE).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    if method == Method::POST && !kind.eq_ignore_ascii_case("application/json") {
        return Err((
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "send JSON: Content-Type: application/json",
        ));
    }
    Ok(())
}

/// Whether a Host header names this machine from within.
fn is_this_machine(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.parse::<u16>().is_ok() => name,
        _ => host,
    };
    ["127.0.0.1", "localhost", "[::1]"].contains(&name)
}

/// Comparison whose time says nothing of where they differ.
pub fn same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |apart, (a, b)| apart | (a ^ b)) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_this_machine() {
        for host in [
            "127.0.0.1",
            "127.0.0.1:80",
            "localhost:8",
            "[::1]:1",
            "[::1]",
        ] {
            assert!(is_this_machine(host), "{host}");
        }
        for host in [
            "",
            "evil.example",
            "127.0.0.1.evil.example",
            "localhost:x",
            "[::2]:1",
        ] {
            assert!(!is_this_machine(host), "{host}");
        }
        assert!(same(b"ab", b"ab") && !same(b"ab", b"ac") && !same(b"ab", b"abc"));
    }
}
