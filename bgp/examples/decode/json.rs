//! Messages and errors as JSON. Values come from the codec's own serialisation; this module adds names, and flattens
//! the objects that it nests under a variant's name.

use bytes::Bytes;
use serde::{Serialize, Serializer};
use serde_json::{Error, Value};
use vipcast_bgp::wire::{
    Asn, Attribute, AttributeFlags, Capability, DecodeError, ErrorAction, Family, MalformedAttribute,
    Message, Notification, Open, RouteRefresh, Update, iana,
};

/// One message.
pub(crate) fn message(message: &Message) -> Result<String, Error> {
    to_string(&match message {
        Message::Open(open) => MessageView::Open(OpenView::new(open)?),
        Message::Update(update) => MessageView::Update(UpdateView::new(update)?),
        Message::Notification(notification) => MessageView::Notification(NotificationView::new(notification)),
        Message::Keepalive => MessageView::Keepalive,
        Message::RouteRefresh(refresh) => MessageView::RouteRefresh(refresh),
    })
}

/// A decode error and its NOTIFICATION.
pub(crate) fn error(error: &DecodeError) -> Result<String, Error> {
    to_string(&ErrorView {
        error: error.to_string(),
        notification: NotificationView::new(&error.notification()),
    })
}

/// A value as JSON on one line.
pub(crate) fn to_string(value: &impl Serialize) -> Result<String, Error> {
    serde_json::to_string(value)
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
enum MessageView<'a> {
    Open(OpenView),
    Update(UpdateView<'a>),
    Notification(NotificationView),
    Keepalive,
    RouteRefresh(&'a RouteRefresh),
}

#[derive(Serialize)]
struct ErrorView {
    error: String,
    notification: NotificationView,
}

#[derive(Serialize)]
struct OpenView {
    asn: Asn,
    /// The two-octet field.
    my_as: u16,
    hold_time: u16,
    router_id: std::net::Ipv4Addr,
    capabilities: Vec<Named>,
}

impl OpenView {
    fn new(open: &Open) -> Result<Self, Error> {
        let capabilities = open.capabilities.iter().map(Named::capability).collect::<Result<_, Error>>()?;
        Ok(Self {
            asn: open.asn,
            my_as: open.my_as(),
            hold_time: open.hold_time,
            router_id: open.router_id,
            capabilities,
        })
    }
}

#[derive(Serialize)]
struct UpdateView<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    end_of_rib: Option<Family>,
    withdrawn: &'a [ipnet::Ipv4Net],
    #[serde(serialize_with = "side_by_side")]
    attributes: Vec<Named>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    unknown_attributes: Vec<UnknownView>,
    nlri: &'a [ipnet::Ipv4Net],
    #[serde(skip_serializing_if = "Vec::is_empty")]
    malformed: Vec<MalformedView>,
    /// The strongest of those above.
    #[serde(skip_serializing_if = "Option::is_none")]
    action: Option<ErrorAction>,
}

impl<'a> UpdateView<'a> {
    fn new(update: &'a Update) -> Result<Self, Error> {
        let mut attributes = Vec::new();
        let mut unknown_attributes = Vec::new();
        for attribute in &update.attributes {
            if let Attribute::Unknown { flags, code, data } = attribute {
                unknown_attributes.push(UnknownView {
                    code: *code,
                    name: iana::attribute::name(*code),
                    flags: Some(flag_words(*flags)),
                    data: hex(data),
                });
            } else {
                attributes.push(Named::variant(attribute)?);
            }
        }
        Ok(Self {
            end_of_rib: update.end_of_rib(),
            withdrawn: &update.withdrawn,
            attributes,
            unknown_attributes,
            nlri: &update.nlri,
            malformed: update.malformed.iter().map(MalformedView::new).collect(),
            action: update.action(),
        })
    }
}

#[derive(Serialize)]
struct MalformedView {
    /// Its name, or its number.
    attribute: Value,
    action: ErrorAction,
    reason: String,
}

impl MalformedView {
    fn new(malformed: &MalformedAttribute) -> Self {
        Self {
            attribute: iana::attribute::name(malformed.code).map_or(malformed.code.into(), Into::into),
            action: malformed.action,
            reason: malformed.error.to_string(),
        }
    }
}

#[derive(Serialize)]
struct NotificationView {
    code: u8,
    subcode: u8,
    name: String,
    data: String,
    /// The shutdown communication (RFC 9003).
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    /// The NOTIFICATION inside a Hard Reset (RFC 8538).
    #[serde(skip_serializing_if = "Option::is_none")]
    inside: Option<Box<Self>>,
}

impl NotificationView {
    fn new(notification: &Notification) -> Self {
        let Notification { code, subcode, ref data } = *notification;
        let mut view = Self::without_inside(notification);
        view.inside = Notification::new(code, subcode, data.clone())
            .inside_hard_reset()
            .map(|inside| Box::new(Self::without_inside(&inside)));
        if view.inside.is_some() {
            view.text = None;
        }
        view
    }

    /// One level only, at any depth of nesting.
    fn without_inside(notification: &Notification) -> Self {
        let Notification { code, subcode, ref data } = *notification;
        Self {
            code,
            subcode,
            name: Notification::new(code, subcode, Bytes::new()).to_string(),
            data: hex(data),
            text: notification.shutdown_communication(),
            inside: None,
        }
    }
}

#[derive(Serialize)]
struct UnknownView {
    code: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'static str>,
    /// The flags of an attribute.
    #[serde(skip_serializing_if = "Option::is_none")]
    flags: Option<Vec<&'static str>>,
    data: String,
}

/// The name of a variant, and its value.
struct Named(String, Value);

impl Named {
    fn capability(capability: &Capability) -> Result<Self, Error> {
        if let Capability::Unknown { code, data } = capability {
            let name = iana::capability::name(*code);
            let unknown = UnknownView { code: *code, name, flags: None, data: hex(data) };
            return Ok(Self("unknown".to_owned(), serde_json::to_value(unknown)?));
        }
        Self::variant(capability)
    }

    /// The variant of an enum, which serialises as `"name"` or `{"name": value}`.
    fn variant(variant: &impl Serialize) -> Result<Self, Error> {
        let variant = serde_json::to_value(variant)?;
        let inner = variant.as_object().and_then(|object| object.iter().next());
        Ok(match inner {
            Some((name, value)) => Self(name.clone(), value.clone()),
            None => Self(variant.as_str().unwrap_or_default().to_owned(), Value::Bool(true)),
        })
    }
}

/// An object of its own.
impl Serialize for Named {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map([(&self.0, &self.1)])
    }
}

/// All in one object, in their order; each name appears once.
fn side_by_side<S: Serializer>(named: &[Named], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(named.iter().map(|Named(name, value)| (name, value)))
}

fn flag_words(flags: AttributeFlags) -> Vec<&'static str> {
    let words = [
        (flags.is_optional(), "optional"),
        (flags.is_transitive(), "transitive"),
        (flags.is_partial(), "partial"),
    ];
    words.into_iter().filter_map(|(set, word)| set.then_some(word)).collect()
}

fn hex(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}
