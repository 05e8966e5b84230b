//! Addresses: looking them up, and errors that name the one they are about.
//!
//! It is apart because listeners and connects both need it and the system's own errors name no address.

use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};

/// What was to be done with an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Listen on it.
    Listen,
    /// Connect to it.
    Connect,
}

/// An error of the system with the address it is about.
#[derive(Debug)]
struct AtAddress {
    /// What was to be done.
    purpose: Purpose,
    /// With which address.
    address: SocketAddr,
    /// What the system said.
    source: io::Error,
}

/// The same error, of the same kind, with a text that names the address and says what to do.
pub(super) fn at_address(purpose: Purpose, address: SocketAddr, source: io::Error) -> io::Error {
    io::Error::new(
        source.kind(),
        AtAddress {
            purpose,
            address,
            source,
        },
    )
}

/// Every address of a name, in the order in which the system gives them.
///
/// # Errors
/// What the look-up says; `InvalidInput` if it gives none.
pub(super) fn resolve(address: impl ToSocketAddrs) -> io::Result<Vec<SocketAddr>> {
    let found: Vec<SocketAddr> = address.to_socket_addrs()?.collect();
    if found.is_empty() {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "the name has no address; give one as host:port",
        ));
    }
    Ok(found)
}

impl fmt::Display for AtAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            purpose,
            address,
            source,
        } = self;
        let (verb, advice) = match (purpose, source.kind()) {
            (Purpose::Listen, io::ErrorKind::AddrInUse) => (
                "listen on",
                ". Stop the program that listens there, or choose another port (0 lets the system choose).",
            ),
            (Purpose::Listen, io::ErrorKind::PermissionDenied) => {
                ("listen on", ". Choose a port above 1023.")
            }
            (Purpose::Listen, _) => ("listen on", ""),
            (Purpose::Connect, io::ErrorKind::ConnectionRefused) => (
                "connect to",
                ". Nothing listens there: start the server, or check the port.",
            ),
            (Purpose::Connect, _) => ("connect to", ""),
        };
        write!(f, "cannot {verb} {address}: {source}{advice}")
    }
}

impl StdError for AtAddress {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(&self.source)
    }
}

#[cfg(test)]
mod tests {
    use super::{Purpose, at_address, resolve};
    use std::io;
    use std::net::SocketAddr;

    #[test]
    fn an_error_names_its_address_and_keeps_its_kind_and_cause() {
        let address: SocketAddr = "127.0.0.1:80".parse().expect("an address");
        let system = io::Error::from(io::ErrorKind::AddrInUse);
        let error = at_address(Purpose::Listen, address, system);
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        assert!(
            error
                .to_string()
                .starts_with("cannot listen on 127.0.0.1:80: address in use. Stop the program"),
            "{error}"
        );
        let inner = error.get_ref().expect("an inner error");
        assert!(inner.source().is_some());
    }

    #[test]
    fn a_name_without_addresses_is_an_error() {
        let none: &[SocketAddr] = &[];
        let error = resolve(none).expect_err("no address");
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    }
}
