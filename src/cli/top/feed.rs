//! The news of a daemon: its status every second and after each event, and the stream of its events. A daemon that has gone is
//! asked again until it answers.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{Notify, mpsc};
use tokio::time::{sleep, timeout};

use super::state::News;
use crate::cli::output::{causes, chain};
use crate::control::client::{Client, Item};
use crate::control::routes;

/// The interval between two looks at the status; the daemon shares one answer among all that ask.
const LOOK: Duration = Duration::from_secs(1);
/// The shortest interval, however many events there are.
const SOON: Duration = Duration::from_millis(200);
/// The pause before a daemon that has gone is asked again.
const AGAIN: Duration = Duration::from_secs(1);

/// Follows the daemon until `news` is closed.
pub(super) async fn follow(client: Client, news: mpsc::Sender<News>) {
    let happened = Arc::new(Notify::new());
    let looks = look(&client, &news, &happened);
    let events = events(&client, &news, &happened);
    tokio::join!(looks, events);
}

async fn look(client: &Client, news: &mpsc::Sender<News>, happened: &Notify) {
    loop {
        let next = match client.call(&routes::STATUS, &()).await {
            Ok(status) => News::Status(Box::new(status)),
            Err(error) => News::Lost(chain(causes(&error))),
        };
        if news.send(next).await.is_err() {
            return;
        }
        sleep(SOON).await;
        // After the time-out it is looked at in any case.
        let _late = timeout(LOOK - SOON, happened.notified()).await;
    }
}

async fn events(client: &Client, news: &mpsc::Sender<News>, happened: &Notify) {
    while !news.is_closed() {
        let Ok(latest) = client.call(&routes::EVENTS, &()).await else {
            sleep(AGAIN).await;
            continue;
        };
        let last = latest.events.last().map_or(0, |event| event.seq);
        let after = format!("{}-{last}", latest.run);
        if news.send(News::Events(latest.events)).await.is_err() {
            return;
        }
        // Its end is seen by the look at the status.
        let _ended = client
            .follow(Some(&after), |item| {
                happened.notify_one();
                if let Item::Event { event, .. } = item {
                    // A screen that stands still misses events until the next connection.
                    match news.try_send(News::Event(event)) {
                        Ok(()) => {}
                        Err(TrySendError::Full(_) | TrySendError::Closed(_)) => return ControlFlow::Break(()),
                    }
                }
                ControlFlow::Continue(())
            })
            .await;
        sleep(AGAIN).await;
    }
}
