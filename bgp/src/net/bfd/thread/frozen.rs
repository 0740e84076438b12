//! Freeze and thaw of the thread's state. The caller does both, while no thread has it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::super::super::Descriptors;
use super::super::super::frozen::ThawError;
use super::super::transmit::{Frozen, Transmitter};
use super::{Slot, Thread};
use crate::bfd::{BfdEvent, Session, SessionSettings};
use crate::frozen::bfd_thread::{self as frozen, V1, freeze_discards, thaw_discards};
use crate::frozen::{self as forms, agree, nanos, past};
use crate::jitter::Jitter;
use crate::time::Instant;

impl Thread {
    /// Puts every socket into `descriptors`. No packet is sent.
    pub(in super::super) fn freeze(self, descriptors: &mut Descriptors) -> forms::BfdThread {
        let slots = self.slots.into_iter().flatten();
        forms::BfdThread::V1(V1 {
            sessions: slots.map(|slot| slot.freeze(descriptors)).collect(),
            receivers: self.receivers.into_iter().map(|receiver| receiver.freeze(descriptors)).collect(),
            random: self.random.state(),
            discarded: freeze_discards(&self.discarded),
            worst_wakeup: nanos(self.worst_wakeup),
            emptied: self.emptied,
        })
    }

    /// Makes a new state, whose thread does not run yet, that of the frozen one.
    pub(in super::super) fn thaw(
        mut self,
        frozen: &forms::BfdThread,
        news: Vec<BfdEvent>,
        descriptors: &mut Descriptors,
        now: Instant,
    ) -> Result<Self, ThawError> {
        let forms::BfdThread::V1(frozen) = frozen;
        let (mut names, mut discriminators, mut ports) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        for form in &frozen.sessions {
            let slot = Slot::thaw(form, descriptors, now)?;
            let new_name = slot.leaving || names.insert(Arc::clone(&slot.name));
            agree(new_name && discriminators.insert(slot.session.discriminator()), "sessions")?;
            agree(ports.insert(slot.transmitter.port()), "port")?;
            self.insert(slot);
        }
        agree(frozen.receivers.len() == self.receivers.len(), "receivers")?;
        for (receiver, form) in self.receivers.iter_mut().zip(&frozen.receivers) {
            receiver.thaw(form, descriptors, now)?;
        }
        self.random = Jitter::new(frozen.random);
        self.discarded = thaw_discards(&frozen.discarded)?;
        self.worst_wakeup = Duration::from_nanos(frozen.worst_wakeup);
        // Packets that wait since then keep their time.
        self.emptied = past(frozen.emptied, now, "emptied")?;
        for event in news {
            // The receiver is here.
            let _told = self.events.send(event);
        }
        Ok(self)
    }
}

impl Slot {
    fn freeze(self, descriptors: &mut Descriptors) -> frozen::Session {
        let Self { name, settings, session, transmitter, leaving, discarded } = self;
        let SessionSettings { remote, local, interface, hops, config } = settings;
        let Frozen { port, socket, index, proven, errors, error } = transmitter.freeze(descriptors);
        frozen::Session {
            name: name.to_string(),
            remote,
            local,
            interface,
            hops: hops.into(),
            wanted: config.into(),
            machine: session.freeze(),
            leaving,
            port,
            socket,
            index,
            proven,
            errors,
            error,
            discarded: freeze_discards(&discarded),
        }
    }

    fn thaw(
        frozen: &frozen::Session,
        descriptors: &mut Descriptors,
        now: Instant,
    ) -> Result<Self, ThawError> {
        let in_session = |error| match error {
            ThawError::Form(error) => ThawError::Peer { ip: frozen.remote, error },
            other @ (ThawError::Peer { .. } | ThawError::Io(_)) => other,
        };
        let session = Session::thaw(&frozen.machine, now).map_err(ThawError::from).map_err(in_session)?;
        let settings = SessionSettings {
            remote: frozen.remote,
            local: frozen.local,
            interface: frozen.interface.clone(),
            hops: frozen.hops.into(),
            config: frozen.wanted.into(),
        };
        let transmitter = Frozen {
            port: frozen.port,
            socket: frozen.socket,
            index: frozen.index,
            proven: frozen.proven,
            errors: frozen.errors,
            error: frozen.error.clone(),
        };
        let transmitter = Transmitter::thaw(transmitter, descriptors).map_err(in_session)?;
        let discarded = thaw_discards(&frozen.discarded)?;
        let same_family = frozen.local.is_none_or(|local| local.is_ipv4() == frozen.remote.is_ipv4());
        agree(same_family, "local")?;
        let name = Arc::from(frozen.name.as_str());
        Ok(Self { name, settings, session, transmitter, leaving: frozen.leaving, discarded })
    }
}
