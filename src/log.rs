//! Log lines on stderr: one line an event, values as fields.
//!
//! Where stderr is the journal, each line begins with its syslog priority (`<4>` for a warning) instead of a time, so
//! that `journalctl -p warning` works and no time is printed twice.

use std::fmt;
use std::io::{self, IsTerminal};

use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::format::{Format, Writer};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use crate::config::model::{Log, LogFormat, LogLevel};

/// Sends the log to stderr from now on. Only the first call counts.
pub fn init(log: Log) {
    let level = match log.level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    };
    let colour = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let builder = tracing_subscriber::fmt().with_max_level(level).with_writer(io::stderr).with_ansi(colour);
    let set = match log.format {
        LogFormat::Json => {
            tracing::subscriber::set_global_default(builder.json().flatten_event(true).finish())
        }
        LogFormat::Plain if std::env::var_os("JOURNAL_STREAM").is_some() => {
            let journal = Journal(Format::default().without_time().with_level(false).with_ansi(false));
            tracing::subscriber::set_global_default(builder.event_format(journal).finish())
        }
        LogFormat::Plain => tracing::subscriber::set_global_default(builder.with_target(false).finish()),
    };
    // An error says that there is a subscriber already, as in a test.
    drop(set);
}

/// Writes the syslog priority in front of each line (sd-daemon(3)).
struct Journal(Format<tracing_subscriber::fmt::format::Full, ()>);

impl<S, N> FormatEvent<S, N> for Journal
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        write!(writer, "<{}>", priority(*event.metadata().level()))?;
        self.0.format_event(context, writer, event)
    }
}

/// The syslog severity of a level (RFC 5424 §6.2.1).
fn priority(level: Level) -> u8 {
    match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        Level::DEBUG | Level::TRACE => 7,
    }
}
