//! The network address and the user agent of a request.

use std::net::{IpAddr, Ipv6Addr};

/// The most characters kept of a `User-Agent`.
const MAX_USER_AGENT: usize = 200;

/// The client of a request, as the gateway saw it.
#[derive(Clone, Debug)]
pub struct Client {
    /// An IPv4 address, or the /64 network of an IPv6 address: what a provider assigns to one customer.
    pub network: String,
    /// The client's `User-Agent`, without control characters, cut to 200 characters.
    pub user_agent: String,
}

impl Client {
    /// Takes the source address and the `User-Agent`; an unreadable address is `unknown`.
    #[must_use]
    pub fn new(source_ip: &str, user_agent: &str) -> Self {
        let network = match source_ip.parse() {
            Ok(IpAddr::V6(address)) if address.to_ipv4_mapped().is_none() => {
                let [a, b, c, d, ..] = address.segments();
                format!("{}/64", Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
            }
            Ok(address) => address.to_canonical().to_string(),
            Err(_) => "unknown".to_owned(),
        };
        Self { network, user_agent: user_agent.chars().filter(|c| !c.is_control()).take(MAX_USER_AGENT).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ipv6_customer_is_one_network_and_an_ipv4_address_itself() {
        for (address, network) in [
            ("203.0.113.7", "203.0.113.7"),
            ("::ffff:203.0.113.7", "203.0.113.7"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
            ("2001:db8:1:2:ffff::1", "2001:db8:1:2::/64"),
            ("", "unknown"),
            ("localhost", "unknown"),
        ] {
            assert_eq!(Client::new(address, "").network, network, "{address}");
        }
        assert_eq!(Client::new("", &format!("a\n{}", "b".repeat(300))).user_agent.len(), MAX_USER_AGENT);
    }
}
