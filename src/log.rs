//! Log lines on stderr: one line an event, values as fields.
//!
//! ```text
//!  any thread ─► Line ─► Queue (bounded) ─► thread "log" ─► stderr
//! ```
//!
//! No other thread waits for stderr. A pipe without a reader, a journal that hangs, a full disk or a closed terminal
//! costs lines: they are counted, and `N lines were not logged` stands in their place when stderr accepts lines again.
//!
//! **Thread.** [`start`] starts one for the life of the process; only it writes to stderr. It blocks as long as stderr
//! does, and [`finish`] waits a moment for it at the end.
//!
//! A port reports its own troubles with `note!`, `trouble!` or `failure!`; everything else is a record, and
//! [`crate::journal`] writes it.
//!
//! If stderr is the journal, each line begins with its syslog priority (`<4>` for a warning) instead of a time, so that
//! `journalctl -p warning` works and no time is printed twice.

mod door;
mod form;
mod line;
mod queue;
mod writer;

use std::panic::{self, PanicHookInfo};
use std::sync::OnceLock;
use std::time::Duration;

use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::Registry;
use tracing_subscriber::reload;
use vipcast_node::model::{self, LogLevel};

pub(crate) use self::door::{failure, note, trouble};
use self::form::Form;
use self::line::Lines;
use self::writer::Log as Thread;

/// The longest wait for stderr at the end of the process.
const PATIENCE: Duration = Duration::from_secs(1);

/// The queue and its thread, after [`start`].
static THREAD: OnceLock<Thread> = OnceLock::new();
/// Changes the level, after the first [`set`].
static LEVEL: OnceLock<reload::Handle<LevelFilter, Registry>> = OnceLock::new();

/// When dropped, waits for unwritten lines, at most a second.
#[derive(Debug)]
#[must_use = "the last lines are lost without it"]
pub struct Flush(());

impl Drop for Flush {
    fn drop(&mut self) {
        finish();
    }
}

/// Starts the thread that writes, and sends panics through it. Until [`set`] only [`print()`] writes. If the host has
/// no thread nothing is logged, and the reason for the end of the process is written directly.
pub fn start() -> Flush {
    if let Ok(thread) = Thread::start(writer::Stderr) {
        // A second call keeps the first thread.
        drop(THREAD.set(thread));
        panic::set_hook(Box::new(panicked));
    }
    Flush(())
}

/// Sets the form and the level; may be called again at any time.
pub fn set(log: model::Log) {
    form::set(Form::of(log.format));
    let level = level(log.level);
    match LEVEL.get() {
        // An error means that the subscriber is gone, which happens only when the process ends.
        Some(handle) => drop(handle.reload(level)),
        None => {
            let (filter, handle) = reload::Layer::new(level);
            let lines = tracing_subscriber::fmt::layer()
                .with_writer(Lines)
                .with_ansi(form::has_colour())
                .log_internal_errors(false)
                .event_format(form::Event::default());
            let subscriber = tracing_subscriber::registry().with(filter).with(lines);
            // An error means that there is already a subscriber, as in a test.
            if tracing::subscriber::set_global_default(subscriber).is_ok() {
                drop(LEVEL.set(handle));
            }
        }
    }
}

/// Whether [`start`] was called: then all output to stderr goes through [`print()`].
pub fn is_started() -> bool {
    THREAD.get().is_some()
}

/// Sends text to stderr unchanged, behind the waiting lines.
pub fn print(text: &str) {
    if let Some(thread) = THREAD.get() {
        thread.push(text.as_bytes().into());
    }
}

/// Waits until everything is written, for a second at most.
pub fn finish() {
    flush(PATIENCE);
}

/// Waits until everything is written, for this time at most.
pub(crate) fn flush(patience: Duration) {
    if let Some(thread) = THREAD.get() {
        thread.finish(patience);
    }
}

fn level(level: LogLevel) -> LevelFilter {
    match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    }
}

/// The hook of std writes to stderr itself, and waits for it.
fn panicked(panic: &PanicHookInfo<'_>) {
    let thread = std::thread::current();
    let (thread, place) = (thread.name().unwrap_or("?"), panic.location().map(ToString::to_string));
    let message = panic.payload_as_str().unwrap_or("?");
    let backtrace = std::backtrace::Backtrace::capture();
    let captured = backtrace.status() == std::backtrace::BacktraceStatus::Captured;
    let backtrace = captured.then(|| backtrace.to_string());
    match LEVEL.get() {
        Some(_) => tracing::error!(thread, place, backtrace, "panic: {message}"),
        None => print(&format!("panic: {message} ({})\n", place.unwrap_or_default())),
    }
}
