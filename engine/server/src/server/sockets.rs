//! Listening sockets, bound before anything else starts.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use socket2::{Domain, Protocol, Socket, Type};

use super::StartError;

/// Connections that may wait to be taken.
const BACKLOG: i32 = 1024;

/// A TCP socket that listens on `address`; port 0 takes a free one.
pub(super) fn bind_tcp(address: SocketAddr) -> Result<TcpListener, StartError> {
    let bind = || -> io::Result<TcpListener> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        // A server that restarts takes its port over from its last connections.
        socket.set_reuse_address(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        socket.set_nonblocking(true)?;
        Ok(socket.into())
    };
    bind().map_err(|source| StartError::Bind { address, source })
}

/// A Unix socket at `path`. One that a server left behind that is gone is replaced, any other file is
/// not.
pub(super) fn bind_unix(path: &Path) -> Result<UnixListener, StartError> {
    let bind = || -> io::Result<UnixListener> {
        let is_socket = path.symlink_metadata().is_ok_and(|file| file.file_type().is_socket());
        if is_socket && UnixStream::connect(path).is_err() {
            std::fs::remove_file(path)?;
        }
        let listener = UnixListener::bind(path)?;
        listener.set_nonblocking(true)?;
        Ok(listener)
    };
    bind().map_err(|source| StartError::BindUnix { path: path.to_owned(), source })
}
