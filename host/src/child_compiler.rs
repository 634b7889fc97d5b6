//! Compiles policies in a child process: this program, started again with the hidden verb `compile-component`.
//!
//! A component that takes too long or too much memory to compile costs the child, and not the gate.

use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use mqtt_gate_engine::{CodeTarget, CompileControl, CompileError, Compiler};
use rustix::process::{Resource, Rlimit, Signal, set_parent_process_death_signal, setrlimit};

use crate::config::Limits;

/// The hidden verb that the child runs.
pub const VERB: &str = "compile-component";

/// Exit code of a child that says on standard error why the component is not valid (EX_DATAERR of sysexits.h).
const INVALID: i32 = 65;

/// Exit code of a child that has too little memory to begin (EX_OSERR of sysexits.h).
const NO_MEMORY: i32 = 71;

/// How often a running child is looked at.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// Maximum length of what a child says about a component.
const MAX_MESSAGE: u64 = 4096;

/// This program's own file, also after another version was installed over it.
const THIS_PROGRAM: &str = "/proc/self/exe";

/// Starts this program again to compile a component.
pub struct ChildCompiler {
    program: PathBuf,
    timeout: Duration,
    max_memory: u64,
}

/// What the child is told, as the arguments of [`VERB`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChildTask {
    /// What the code depends on.
    pub target: CodeTarget,
    /// Whether to leave half of the processors to the gate.
    pub in_background: bool,
    /// Memory that the child may take, in bytes.
    pub max_memory: u64,
    /// Processor time that the child may take, in seconds: in case the gate ends before it.
    pub max_cpu: u64,
}

impl ChildCompiler {
    /// A compiler with these limits, for a program that runs [`run_child`] as its verb [`VERB`].
    #[must_use]
    pub fn new(limits: &Limits) -> Self {
        let this_program = Path::new(THIS_PROGRAM);
        let program = if this_program.exists() { Some(this_program.to_owned()) } else { std::env::current_exe().ok() };
        Self {
            program: program.unwrap_or_default(),
            timeout: limits.compile_timeout,
            max_memory: limits.max_compile_memory().as_u64(),
        }
    }

    fn start(&self, task: ChildTask) -> io::Result<Child> {
        Command::new(&self.program)
            .arg(VERB)
            .args(task.to_arguments())
            // Settings may be there.
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
    }

    /// Waits for the code, the timeout or the cancellation, whatever comes first.
    fn wait(&self, child: &mut Child, component: &[u8], control: &CompileControl) -> Result<Vec<u8>, CompileError> {
        let deadline = Instant::now() + self.timeout;
        let (Some(mut stdin), Some(mut stdout)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(CompileError::Failed("no pipe".to_owned()));
        };
        thread::scope(|scope| {
            // Ends when the child reads it, or ends.
            scope.spawn(move || drop(stdin.write_all(component)));
            let (send, received) = channel();
            scope.spawn(move || {
                let mut code = Vec::new();
                let read = stdout.read_to_end(&mut code);
                let _ = send.send(read.map(|_| code));
            });
            let result = loop {
                match received.recv_timeout(LOOK_INTERVAL) {
                    Ok(Ok(code)) => break Ok(code),
                    Ok(Err(error)) => break Err(CompileError::Failed(error.to_string())),
                    Err(RecvTimeoutError::Disconnected) => break Err(CompileError::Failed("no output".to_owned())),
                    Err(RecvTimeoutError::Timeout) if Instant::now() >= deadline => break Err(CompileError::Timeout),
                    Err(RecvTimeoutError::Timeout) if control.is_cancelled() => break Err(CompileError::Cancelled),
                    Err(RecvTimeoutError::Timeout) => {}
                }
            };
            if result.is_err() {
                // Ends both threads too.
                let _ = child.kill();
            }
            result
        })
    }
}

impl Compiler for ChildCompiler {
    fn compile(&self, target: CodeTarget, component: &[u8], control: &CompileControl) -> Result<Vec<u8>, CompileError> {
        let processors = thread::available_parallelism().map_or(1, |processors| processors.get() as u64);
        let max_cpu = (self.timeout.as_secs() + 1) * processors;
        let in_background = control.in_background;
        let task = ChildTask { target, in_background, max_memory: self.max_memory, max_cpu };
        let result = self.start(task).map_err(CompileError::NoProcess).and_then(|mut child| {
            // Read all the time: a child that runs out of memory complains without end, and would wait for a full pipe.
            let messages = child.stderr.take().map(|stderr| thread::spawn(move || read_message(stderr)));
            let code = self.wait(&mut child, component, control);
            let status = child.wait().map_err(|error| CompileError::Failed(error.to_string()))?;
            let message = messages.and_then(|reader| reader.join().ok()).unwrap_or_default();
            code.and_then(|code| result_of(status, code, message))
        });
        if let Err(CompileError::NoProcess(error)) = &result {
            let hint =
                "let the gate start processes; without them limits.compile_timeout and max_compile_memory do not apply";
            tracing::warn!(%error, hint, "cannot compile in a child process");
        }
        result
    }
}

/// Reads everything, and returns the beginning.
fn read_message(mut stderr: impl Read) -> String {
    let mut message = Vec::new();
    let _ = stderr.by_ref().take(MAX_MESSAGE).read_to_end(&mut message);
    let _ = io::copy(&mut stderr, &mut io::sink());
    String::from_utf8_lossy(&message).trim().to_owned()
}

fn result_of(status: ExitStatus, code: Vec<u8>, message: String) -> Result<Vec<u8>, CompileError> {
    match (status.code(), status.signal().and_then(Signal::from_named_raw)) {
        (Some(0), _) => Ok(code),
        (Some(INVALID), _) => Err(CompileError::Invalid(message)),
        (Some(NO_MEMORY), _) => Err(CompileError::Memory),
        (_, Some(Signal::XCPU)) => Err(CompileError::Timeout),
        // Memory ran out: an allocation failed, or the kernel chose the child to end.
        (_, Some(Signal::ABORT | Signal::KILL | Signal::SEGV | Signal::BUS)) => Err(CompileError::Memory),
        // A component must not get around the limits by making the child panic: only a child that cannot be started is
        // replaced by this process.
        _ => Err(CompileError::Failed(status.to_string())),
    }
}

impl ChildTask {
    fn to_arguments(self) -> [String; 5] {
        [
            self.target.max_memory.to_string(),
            self.target.has_guards.to_string(),
            self.in_background.to_string(),
            self.max_memory.to_string(),
            self.max_cpu.to_string(),
        ]
    }

    /// Parses the arguments of the verb. `None`: they are not those of this version.
    #[must_use]
    pub fn parse(arguments: &[String]) -> Option<Self> {
        let [max_instance_memory, has_guards, in_background, max_memory, max_cpu] = arguments else { return None };
        Some(Self {
            target: CodeTarget { max_memory: max_instance_memory.parse().ok()?, has_guards: has_guards.parse().ok()? },
            in_background: in_background.parse().ok()?,
            max_memory: max_memory.parse().ok()?,
            max_cpu: max_cpu.parse().ok()?,
        })
    }
}

/// Compiles the component on standard input, and writes its code to standard output. Returns the exit code.
#[must_use]
pub fn run_child(task: ChildTask) -> i32 {
    limit_this_process(task);
    let mut component = Vec::new();
    let read = io::stdin().lock().read_to_end(&mut component);
    let compiled = read
        .map_err(|error| CompileError::Failed(error.to_string()))
        .and_then(|_| mqtt_gate_engine::compile(task.target, &component, task.in_background));
    match compiled {
        Ok(code) => i32::from(io::stdout().lock().write_all(&code).is_err()),
        Err(CompileError::Invalid(reason)) => {
            eprintln!("{reason}");
            INVALID
        }
        Err(CompileError::Memory) => NO_MEMORY,
        Err(error) => {
            eprintln!("{error}");
            1
        }
    }
}

/// Sets the limits of this process. Systems without one of them work without it.
fn limit_this_process(task: ChildTask) {
    // If the machine runs out of memory, this process is the one to end.
    let _ = fs::write("/proc/self/oom_score_adj", "1000");
    let _ = set_parent_process_death_signal(Some(Signal::KILL));
    let limit = |resource, max: u64| {
        let _ = setrlimit(resource, Rlimit { current: Some(max), maximum: Some(max) });
    };
    limit(Resource::Core, 0);
    limit(Resource::Cpu, task.max_cpu);
    if let Some(used) = data_size() {
        limit(Resource::Data, used + task.max_memory);
    }
}

/// Size of the data of this process in bytes, of which `RLIMIT_DATA` is the limit (Linux, proc_pid_status(5)).
fn data_size() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmData:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_survives_the_command_line() {
        let target = CodeTarget { max_memory: 1 << 24, has_guards: true };
        let task = ChildTask { target, in_background: false, max_memory: 1 << 28, max_cpu: 22 };
        assert_eq!(ChildTask::parse(&task.to_arguments()), Some(task));
        assert_eq!(ChildTask::parse(&task.to_arguments()[1..]), None);
    }

    #[test]
    fn each_end_of_a_child_has_its_meaning() {
        let result = |raw| result_of(ExitStatus::from_raw(raw), b"code".to_vec(), "told".to_owned());
        assert_eq!(result(0).unwrap(), b"code");
        assert!(matches!(result(INVALID << 8), Err(CompileError::Invalid(text)) if text == "told"));
        for signal in [Signal::ABORT, Signal::KILL] {
            assert!(matches!(result(signal.as_raw()), Err(CompileError::Memory)));
        }
        assert!(matches!(result(Signal::XCPU.as_raw()), Err(CompileError::Timeout)));
        // A panic ends a Rust program with 101.
        for code in [1, 101] {
            assert!(matches!(result(code << 8), Err(CompileError::Failed(_))));
        }
    }
}
