//! The decision log: one JSON line for each decision.
//!
//! Writing never blocks a login. A decision that finds the queue full is dropped, and a gap line in the log says how
//! many were.

use std::fs::OpenOptions;
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::SystemTime;

use mqtt_gate_engine::util::file::displayable_path;

use super::line_writer::{LineWriter, WriteBatch};
use crate::config::{DecisionLogConfig, Record};
use crate::decision::{Decision, DecisionCode};

mod record;

use record::{ClientIdFormatter, DecisionRecord};

/// Decisions that may wait for the disk: a second of a busy gate, and a few megabytes.
const MAX_QUEUED: usize = 16_384;

/// A shorter salt lets client ids be guessed from their hashes.
const MIN_SALT_BYTES: usize = 16;

/// Why the decision log cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum DecisionLogError {
    /// The file cannot be opened.
    #[error("decision_log.file: cannot open {}: {source}; its directory must exist and be writable", path.display())]
    Open {
        /// Path of the file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The salt is too short.
    #[error(
        "decision_log.salt_file: shorter than {MIN_SALT_BYTES} bytes, so client ids could be guessed; \
         `openssl rand -hex 32` generates a salt"
    )]
    ShortSalt,
    /// The salt cannot be read.
    #[error("decision_log.salt_file: cannot read {}", displayable_path(path))]
    ReadSalt {
        /// Path of the file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The system refuses random bytes or a thread.
    #[error("cannot start the decision log")]
    System(#[source] io::Error),
}

/// The decision log. Dropping it writes the decisions that are queued, for at most one second.
pub(crate) struct DecisionLog {
    writer: LineWriter<DecisionRecord>,
    record: Record,
    formatter: Arc<ClientIdFormatter>,
    reopen: Arc<AtomicBool>,
}

impl DecisionLog {
    /// Opens the log. `None` if none is configured.
    ///
    /// # Errors
    /// The file or the salt cannot be used.
    pub(crate) fn open(config: &DecisionLogConfig) -> Result<Option<Self>, DecisionLogError> {
        let Some(path) = &config.file else { return Ok(None) };
        let formatter = Arc::new(ClientIdFormatter::new(config.client_id, config.salt_file.as_deref())?);
        let reopen = Arc::<AtomicBool>::default();
        let log_file = LogFile {
            out: open(path).map_err(|source| DecisionLogError::Open { path: path.clone(), source })?,
            path: path.clone(),
            formatter: Arc::clone(&formatter),
            reopen: Arc::clone(&reopen),
            line: Vec::new(),
            last_id: 0,
            reported: 0,
            is_failing: false,
        };
        let writer = LineWriter::spawn("decision-log", MAX_QUEUED, log_file).map_err(DecisionLogError::System)?;
        Ok(Some(Self { writer, record: config.record, formatter, reopen }))
    }

    /// Queues a decision. Never blocks.
    pub(crate) fn write(&self, decision: &Decision) {
        if self.record == Record::All || decision.code != DecisionCode::Allow {
            self.writer.send(DecisionRecord::new(decision, &self.formatter));
        }
    }

    /// Number of decisions that were dropped or could not be written.
    pub(crate) fn dropped(&self) -> u64 {
        self.writer.dropped().load(Relaxed)
    }

    /// Opens the file again before the next line. Call it after log rotation has moved the file away.
    pub(crate) fn reopen(&self) {
        self.reopen.store(true, Relaxed);
    }
}

impl Drop for DecisionLog {
    fn drop(&mut self) {
        if !self.writer.drain() {
            tracing::warn!("decision log not written completely");
        }
    }
}

type Output = BufWriter<Box<dyn Write + Send>>;

/// Opens the log file for appending, or standard output for `-`.
fn open(path: &Path) -> io::Result<Output> {
    let is_stdout = path.as_os_str() == "-";
    if !is_stdout && path.metadata().is_ok_and(|metadata| !metadata.is_file()) {
        // Opening a pipe without a reader would block.
        return Err(io::Error::other("not a regular file; `-` is standard output"));
    }
    let out: Box<dyn Write + Send> = if is_stdout {
        Box::new(io::stdout())
    } else {
        // Readable by the group, for log shippers. Client ids are personal data, so not by everyone.
        Box::new(OpenOptions::new().create(true).append(true).mode(0o640).open(path)?)
    };
    Ok(BufWriter::with_capacity(64 << 10, out))
}

/// The writing half, on its own thread.
struct LogFile {
    out: Output,
    path: PathBuf,
    formatter: Arc<ClientIdFormatter>,
    reopen: Arc<AtomicBool>,
    /// Buffer for one line. A line is written whole or not at all, as far as the system allows.
    line: Vec<u8>,
    last_id: u64,
    /// Dropped decisions that a gap line has reported.
    reported: u64,
    /// Whether the last write failed. The first failure is logged.
    is_failing: bool,
}

impl WriteBatch<DecisionRecord> for LogFile {
    fn write_batch(&mut self, records: impl Iterator<Item = DecisionRecord>, dropped: &AtomicU64) {
        if self.reopen.swap(false, Relaxed) {
            self.reopen_file();
        }
        for record in records {
            self.last_id += 1;
            let encoded = record.encode(&mut self.line, &self.formatter, self.last_id);
            if encoded.and_then(|()| self.write_line()).is_err() {
                dropped.fetch_add(1, Relaxed);
            }
        }
        let dropped = dropped.load(Relaxed);
        if dropped > self.reported {
            let encoded = record::encode_gap(&mut self.line, SystemTime::now(), dropped - self.reported);
            if encoded.and_then(|()| self.write_line()).is_ok() {
                self.reported = dropped;
            }
        }
        match self.out.flush() {
            // While reopening fails, lines go to the old file. That is no recovery.
            Ok(()) => self.is_failing &= self.reopen.load(Relaxed),
            Err(error) => self.log_first_failure(&error),
        }
    }
}

impl LogFile {
    fn write_line(&mut self) -> io::Result<()> {
        let written = self.out.write_all(&self.line);
        self.line.clear();
        written
    }

    /// Opens the file again. After a failure the next batch tries again.
    fn reopen_file(&mut self) {
        if let Err(error) = self.out.flush() {
            self.log_first_failure(&error);
        }
        match open(&self.path) {
            Ok(out) => self.out = out,
            Err(error) => {
                self.reopen.store(true, Relaxed);
                self.log_first_failure(&error);
            }
        }
    }

    fn log_first_failure(&mut self, error: &io::Error) {
        if !self.is_failing {
            let hint = "free disk space, or check the permissions of the file; logins are not affected";
            tracing::error!(file = %self.path.display(), %error, hint, "the decision log cannot be written");
        }
        self.is_failing = true;
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tempfile::TempDir;

    use super::*;
    use crate::config::ClientIdFormat;
    use crate::telemetry::tests::decision;

    fn config(directory: &TempDir) -> DecisionLogConfig {
        DecisionLogConfig { file: Some(directory.path().join("decisions.log")), ..DecisionLogConfig::default() }
    }

    fn lines(directory: &TempDir, name: &str) -> Vec<serde_json::Value> {
        let text = fs::read_to_string(directory.path().join(name)).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    #[test]
    fn decisions_are_numbered_and_written_when_the_log_is_dropped() {
        let directory = TempDir::new().unwrap();
        let log = DecisionLog::open(&config(&directory)).unwrap().unwrap();
        for code in [DecisionCode::Allow, DecisionCode::Banned, DecisionCode::Ignore] {
            log.write(&decision(code));
        }
        drop(log);
        let lines = lines(&directory, "decisions.log");
        let written: Vec<_> = lines.iter().map(|line| (line["id"].as_u64(), line["verdict"].as_str())).collect();
        assert_eq!(written, [(Some(1), Some("allow")), (Some(2), Some("deny")), (Some(3), Some("ignore"))]);
    }

    #[test]
    fn allowed_clients_are_left_out_on_request() {
        let directory = TempDir::new().unwrap();
        let config = DecisionLogConfig { record: Record::Denied, ..config(&directory) };
        let log = DecisionLog::open(&config).unwrap().unwrap();
        for code in [DecisionCode::Allow, DecisionCode::Ignore, DecisionCode::Allow, DecisionCode::Trap] {
            log.write(&decision(code));
        }
        drop(log);
        let lines = lines(&directory, "decisions.log");
        assert_eq!(lines.iter().map(|line| &line["verdict"]).collect::<Vec<_>>(), ["ignore", "error"]);
    }

    #[test]
    fn a_rotated_file_is_created_again() {
        let directory = TempDir::new().unwrap();
        let log = DecisionLog::open(&config(&directory)).unwrap().unwrap();
        log.write(&decision(DecisionCode::Allow));
        assert!(log.writer.drain());
        fs::rename(directory.path().join("decisions.log"), directory.path().join("old.log")).unwrap();
        log.reopen();
        log.write(&decision(DecisionCode::Allow));
        drop(log);
        assert_eq!(
            (lines(&directory, "old.log").len(), lines(&directory, "decisions.log")[0]["id"].as_u64()),
            (1, Some(2))
        );
    }

    #[test]
    fn a_file_that_cannot_be_opened_again_loses_nothing() {
        let directory = TempDir::new().unwrap();
        let log = DecisionLog::open(&config(&directory)).unwrap().unwrap();
        let (path, old) = (directory.path().join("decisions.log"), directory.path().join("old.log"));
        fs::rename(&path, &old).unwrap();
        fs::create_dir(&path).unwrap();
        log.reopen();
        for _ in 0..2 {
            log.write(&decision(DecisionCode::Allow));
            assert!(log.writer.drain());
        }
        fs::remove_dir(&path).unwrap();
        log.write(&decision(DecisionCode::Allow));
        drop(log);
        assert_eq!((lines(&directory, "old.log").len(), lines(&directory, "decisions.log").len()), (2, 1));
    }

    #[test]
    fn a_gap_line_reports_dropped_decisions_once() {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("decisions.log");
        let formatter = Arc::new(ClientIdFormatter::new(ClientIdFormat::Plain, None).unwrap());
        let mut log_file = LogFile {
            out: open(&path).unwrap(),
            path,
            formatter: Arc::clone(&formatter),
            reopen: Arc::default(),
            line: Vec::new(),
            last_id: 0,
            reported: 0,
            is_failing: false,
        };
        let record = || DecisionRecord::new(&decision(DecisionCode::Allow), &formatter);
        for dropped in [0, 5, 5, 7] {
            log_file.write_batch([record()].into_iter(), &AtomicU64::new(dropped));
        }
        let lines = lines(&directory, "decisions.log");
        let gaps: Vec<_> = lines.iter().map(|line| (line["id"].as_u64(), line["dropped"].as_u64())).collect();
        let expected =
            [(Some(1), None), (Some(2), None), (None, Some(5)), (Some(3), None), (Some(4), None), (None, Some(2))];
        assert_eq!(gaps, expected);
    }

    #[test]
    fn a_file_that_cannot_be_opened_is_named_with_what_to_do() {
        let config = |file: &str| DecisionLogConfig { file: Some(file.into()), ..DecisionLogConfig::default() };
        assert!(DecisionLog::open(&DecisionLogConfig::default()).unwrap().is_none());
        for (file, problem) in
            [("/nowhere/decisions.log", "its directory must exist"), ("/dev/null", "not a regular file")]
        {
            let error = DecisionLog::open(&config(file)).err().unwrap().to_string();
            assert!(error.starts_with("decision_log.file: ") && error.contains(problem), "{error}");
        }
    }
}
