//! A server under load, as a process: started on a free port, filled, asked for its memory, ended.

use std::io::{BufRead as _, BufReader, BufWriter, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

/// Longest wait for a start.
const START: Duration = Duration::from_secs(20);
/// Commands on their way while a server is filled.
const PIPELINE: usize = 256;

/// A server; ended where it is dropped.
pub(crate) struct Contestant {
    child: Child,
    port: u16,
}

impl Contestant {
    /// Debian's `redis-server`, as a cache: nothing is saved.
    pub(crate) fn redis() -> Result<Self> {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        let mut command = Command::new("redis-server");
        command.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", ""]);
        let child = command.stdout(Stdio::null()).spawn();
        let child = child.context("redis-server is not there: apt-get install redis-server")?;
        Self { child, port }.ready()
    }

    /// `ostler serve` with `args`.
    pub(crate) fn ostler(binary: &Path, args: &[&str]) -> Result<Self> {
        let mut command = Command::new(super::checked(binary)?);
        command.args(["serve", "--resp", "127.0.0.1:0", "--http", "127.0.0.1:0"]).args(args);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
        let output = child.stdout.take().context("its output is a pipe")?;
        // Its end is the process's end; three lines do not fill a pipe.
        let mut contestant = Self { child, port: 0 };
        for line in BufReader::new(output).lines() {
            let line = line?;
            let port = line.strip_prefix("RESP").and_then(|rest| rest.rsplit(':').next());
            if let Some(port) = port {
                contestant.port = port.trim().parse().with_context(|| line.clone())?;
            }
            if line.starts_with("metrics") && contestant.port != 0 {
                return contestant.ready();
            }
        }
        bail!("{} ended without saying where RESP is", binary.display())
    }

    fn ready(self) -> Result<Self> {
        let end = Instant::now() + START;
        while TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).is_err() {
            ensure!(Instant::now() < end, "nobody answers on port {}", self.port);
            std::thread::yield_now();
        }
        Ok(self)
    }

    /// Its port of loopback.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Writes `keys` keys as `redis-benchmark` names them, with values of this size.
    pub(crate) fn fill(&self, keys: usize, value_bytes: usize) -> Result<()> {
        self.write(keys, |number| (format!("key:{number:012}"), value_bytes))
    }

    /// Writes keys and values of the sizes that `entry` says.
    pub(crate) fn write(
        &self,
        keys: usize,
        entry: impl Fn(usize) -> (String, usize),
    ) -> Result<()> {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port))?;
        let (mut writer, mut reader) = (BufWriter::new(&stream), BufReader::new(&stream));
        for start in (0..keys).step_by(PIPELINE) {
            let numbers = start..(start + PIPELINE).min(keys);
            let replies = numbers.len();
            for number in numbers {
                let (key, value_bytes) = entry(number);
                let letter = char::from(b'a' + (number % 26) as u8);
                let value = letter.to_string().repeat(value_bytes);
                let key_bytes = key.len();
                write!(
                    writer,
                    "*3\r\n$3\r\nSET\r\n${key_bytes}\r\n{key}\r\n${value_bytes}\r\n{value}\r\n"
                )?;
            }
            writer.flush()?;
            for _ in 0..replies {
                let mut reply = [0; 5];
                reader.read_exact(&mut reply)?;
                ensure!(&reply == b"+OK\r\n", "SET: {}", String::from_utf8_lossy(&reply));
            }
        }
        Ok(())
    }

    /// The number after `field:` in the answer to INFO.
    pub(crate) fn told(&self, field: &str) -> Result<u64> {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port))?;
        (&stream).write_all(b"INFO\r\n")?;
        let mut reader = BufReader::new(&stream);
        let mut length = String::new();
        reader.read_line(&mut length)?;
        let length: usize = length.trim().trim_start_matches('$').parse().context("INFO")?;
        let mut text = vec![0; length];
        reader.read_exact(&mut text)?;
        let text = String::from_utf8_lossy(&text);
        let line = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
        Ok(line.with_context(|| format!("INFO has no {field}"))?.trim().parse()?)
    }

    /// Entries of its first database.
    pub(crate) fn entries(&self) -> Result<u64> {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port))?;
        (&stream).write_all(b"DBSIZE\r\n")?;
        let mut reply = String::new();
        BufReader::new(&stream).read_line(&mut reply)?;
        reply.trim().trim_start_matches(':').parse().with_context(|| reply.clone())
    }

    /// Bytes of memory that the process has, as the system counts them.
    pub(crate) fn resident_bytes(&self) -> Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|line| line.trim().strip_suffix(" kB")).context("VmRSS")?;
        Ok(kib.trim().parse::<u64>()? << 10)
    }
}

impl Drop for Contestant {
    fn drop(&mut self) {
        // Both fail where it has ended already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
