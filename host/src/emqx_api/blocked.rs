//! Whether the service manager keeps this process from opening connections.

use std::fs;
use std::io;

use rustix::io::Errno;

/// The restriction that forbids a connection, if a connection failed because of one.
pub(super) fn blocked_by(error: Option<&io::Error>) -> Option<&'static str> {
    let errno = error.and_then(io::Error::raw_os_error).map(Errno::from_raw_os_error);
    // Not below `/sys`, which the shipped service hides.
    let interfaces = fs::read_to_string("/proc/self/net/dev").ok();
    restriction(errno, interfaces.as_deref())
}

fn restriction(errno: Option<Errno>, interfaces: Option<&str>) -> Option<&'static str> {
    match errno {
        Some(Errno::AFNOSUPPORT) => Some(
            "RestrictAddressFamilies= of the service forbids it; install the drop-in broker-api.conf of deploy/systemd",
        ),
        Some(Errno::PERM | Errno::ACCESS) => {
            Some("the service or a firewall forbids it; allow the address with IPAddressAllow= in a drop-in")
        }
        _ if interfaces.is_some_and(has_only_loopback) => Some(
            "PrivateNetwork=yes of the service leaves it no network; install the drop-in broker-api.conf of \
             deploy/systemd",
        ),
        _ => None,
    }
}

/// Whether `/proc/net/dev` lists no interface but `lo`. Its first two lines are a heading.
fn has_only_loopback(interfaces: &str) -> bool {
    interfaces.lines().skip(2).filter_map(|line| line.split(':').next()).all(|name| name.trim() == "lo")
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADING: &str = "Inter-|   Receive\n face |bytes\n";

    #[test]
    fn restrictions_of_the_service_are_named() {
        let (only_lo, with_eth0) = (format!("{HEADING}    lo: 0\n"), format!("{HEADING}    lo: 0\n  eth0: 9\n"));
        for (errno, interfaces, named) in [
            (Some(Errno::AFNOSUPPORT), Some(&with_eth0), Some("RestrictAddressFamilies=")),
            (Some(Errno::PERM), Some(&with_eth0), Some("IPAddressAllow=")),
            (Some(Errno::CONNREFUSED), Some(&only_lo), Some("PrivateNetwork=yes")),
            (None, Some(&only_lo), Some("PrivateNetwork=yes")),
            (Some(Errno::CONNREFUSED), Some(&with_eth0), None),
            (None, None, None),
        ] {
            let restriction = restriction(errno, interfaces.map(String::as_str));
            assert_eq!(restriction.is_some(), named.is_some(), "{errno:?}");
            assert!(named.is_none_or(|named| restriction.unwrap().contains(named)), "{restriction:?}");
        }
    }
}
