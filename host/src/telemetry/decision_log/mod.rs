//! The decision log: a line for each question that was answered, if the operator wants it.
//!
//! Whoever judges never waits for it. What is to be written waits in a queue that has an end; what finds it full is
//! counted, and the log says itself how many lines it lacks.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use crate::config::{DecisionConfig, Recorded};
use crate::decision::Decision;
use crate::decision::code::Ruling;
use mqtt_gate_engine::util::file::shown_path;

mod line;

use line::{Line, Shown};

/// So many lines can wait to be written.
const MOST_WAITING: usize = 16_384;

/// A salt has so many bytes at least.
const LEAST_SALT: usize = 16;

/// So many lines are written before the log looks up.
const BATCH: usize = 1_024;

/// How long the last lines may take to be written when the gate stops.
const PARTING: Duration = Duration::from_secs(1);

/// Why there is no decision log where one is wanted.
#[derive(Debug, thiserror::Error)]
pub enum DecisionLogError {
    /// Its file cannot be opened.
    #[error("decisions.file: cannot write to {}; the directory has to be there, and writable", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The salt is none.
    #[error(
        "decisions.salt_file: shorter than {LEAST_SALT} bytes, so that client ids could be guessed; make one by `openssl rand -hex 32`"
    )]
    ShortSalt,
    /// The salt cannot be had.
    #[error("decisions.salt_file: cannot read {}", shown_path(path))]
    Salt {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The system gives no random bytes or no thread.
    #[error("cannot start the decision log")]
    System(#[source] io::Error),
}

/// Writes decisions down.
pub(crate) struct DecisionLog {
    queue: Option<SyncSender<Line>>,
    recorded: Recorded,
    shown: Arc<Shown>,
    state: Arc<State>,
    /// Hears that the last line has been written.
    ended: Mutex<Receiver<()>>,
}

/// What the writer and the others know together.
#[derive(Default)]
struct State {
    lost: AtomicU64,
    reopen: AtomicBool,
}

impl DecisionLog {
    /// Opens the log; `None` if none is wanted.
    ///
    /// # Errors
    /// It is wanted, and cannot be had.
    pub(crate) fn open(config: &DecisionConfig) -> Result<Option<Self>, DecisionLogError> {
        let Some(path) = &config.file else { return Ok(None) };
        let shown = Arc::new(Shown::new(config.client_id, config.salt_file.as_deref())?);
        let open = |source| DecisionLogError::Open { path: path.clone(), source };
        let state = Arc::new(State::default());
        let writer = Writer {
            out: out(path).map_err(open)?,
            path: path.clone(),
            shown: Arc::clone(&shown),
            line: Vec::new(),
            state: Arc::clone(&state),
            is_failing: false,
        };
        let (queue, lines) = sync_channel(MOST_WAITING);
        let (ending, ended) = sync_channel(1);
        let write = move || {
            writer.write_all(&lines);
            let _ = ending.send(());
        };
        thread::Builder::new().name("decisions".to_owned()).spawn(write).map_err(DecisionLogError::System)?;
        Ok(Some(Self { queue: Some(queue), recorded: config.what, shown, state, ended: Mutex::new(ended) }))
    }

    /// Puts a decision in the queue, if there is room.
    pub(crate) fn write(&self, decision: &Decision) {
        if self.recorded == Recorded::Refused && decision.ruling == Ruling::Allow {
            return;
        }
        let line = || Line::of(decision, &self.shown);
        let is_queued = self.queue.as_ref().is_some_and(|queue| queue.try_send(line()).is_ok());
        if !is_queued {
            self.state.lost.fetch_add(1, Relaxed);
        }
    }

    /// How many decisions it has no line of.
    pub(crate) fn lost(&self) -> u64 {
        self.state.lost.load(Relaxed)
    }

    /// Opens the file anew before the next line: somebody has moved it away.
    pub(crate) fn reopen(&self) {
        self.state.reopen.store(true, Relaxed);
    }
}

impl Drop for DecisionLog {
    /// Waits until the last line has been written, unless nobody takes it.
    fn drop(&mut self) {
        drop(self.queue.take());
        let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        if ended.recv_timeout(PARTING).is_err() {
            tracing::warn!("the decision log could not be written to its end");
        }
    }
}

type Out = BufWriter<Box<dyn Write + Send>>;

/// `-` is standard output.
fn out(path: &Path) -> io::Result<Out> {
    let is_stdout = path.as_os_str() == "-";
    if !is_stdout && path.metadata().is_ok_and(|there| !there.is_file()) {
        // To open a pipe that nobody reads would take for ever.
        return Err(io::Error::other("not a regular file; `-` is standard output"));
    }
    let out: Box<dyn Write + Send> = if is_stdout { Box::new(io::stdout()) } else { Box::new(append(path)?) };
    Ok(BufWriter::with_capacity(64 << 10, out))
}

/// Others than the owner and the group have no business there.
fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).mode(0o640).open(path)
}

/// The thread that writes.
struct Writer {
    out: Out,
    path: PathBuf,
    shown: Arc<Shown>,
    /// The line that is being made.
    line: Vec<u8>,
    state: Arc<State>,
    is_failing: bool,
}

impl Writer {
    /// Writes until nobody can send any more. What has been written is there for others to read as soon as no more waits.
    fn write_all(mut self, lines: &Receiver<Line>) {
        let (mut number, mut told) = (0_u64, 0);
        while let Ok(first) = lines.recv() {
            if self.state.reopen.swap(false, Relaxed) {
                self.reopen();
            }
            for line in std::iter::once(first).chain(lines.try_iter()).take(BATCH) {
                number += 1;
                let made = line.write(&mut self.line, &self.shown, number);
                if made.and_then(|()| self.put()).is_err() {
                    self.state.lost.fetch_add(1, Relaxed);
                }
            }
            let lost = self.state.lost.load(Relaxed);
            if lost > told && line::write_lost(&mut self.line, lost - told).and_then(|()| self.put()).is_ok() {
                told = lost;
            }
            let flushed = self.out.flush();
            self.note(flushed);
        }
    }

    /// Puts the line where it belongs, whole or not at all as far as the system has it so.
    fn put(&mut self) -> io::Result<()> {
        let put = self.out.write_all(&self.line);
        self.line.clear();
        put
    }

    /// Tries again at the next look if it cannot be done now.
    fn reopen(&mut self) {
        let flushed = self.out.flush();
        self.note(flushed);
        match out(&self.path) {
            Ok(out) => self.out = out,
            Err(error) => {
                self.state.reopen.store(true, Relaxed);
                self.note(Err(error));
            }
        }
    }

    /// Tells of the first failure, until something has reached the file again.
    fn note(&mut self, done: io::Result<()>) {
        if let Err(error) = &done
            && !self.is_failing
        {
            let remedy = "make room on the disk, or look at who may write there; logins go on";
            tracing::error!(file = %self.path.display(), %error, remedy, "the decision log cannot be written");
        }
        self.is_failing = done.is_err();
    }
}
