package worker

import (
	"testing"
	"time"

	"rookery/internal/mailstore"
	"rookery/internal/mailstore/held"
	"rookery/internal/mailstore/quota"
	"rookery/internal/mailstore/retain"
	"rookery/internal/settings"
)

var dots = mailstore.Namespace{Prefix: "INBOX.", Separator: '.'}

func put(t *testing.T, set *settings.Set, name string, value any) {
	t.Helper()
	if err := set.SetRaw(settings.Lookup(name), value); err != nil {
		t.Fatal(err)
	}
}

// Every setting of quota has its place in the limits.
func TestQuotaSettings(t *testing.T) {
	set := settings.New()
	if l := quotaOptions(set, nil, nil).Limits; l != (quota.Limits{}) {
		t.Errorf("limits without settings: %+v", l)
	}
	put(t, set, "quota_storage_size", "1000 KiB")
	put(t, set, "quota_storage_percentage", int64(50))
	put(t, set, "quota_storage_extra", "1 KiB")
	put(t, set, "quota_message_count", int64(200))
	put(t, set, "quota_message_percentage", int64(150))
	put(t, set, "quota_mail_size", "2 KiB")
	put(t, set, "quota_mailbox_count", int64(7))
	user, err := set.WithUser(map[string]string{"quota_message_count": "300", "quota_storage_size": "2000k"})
	if err != nil {
		t.Fatal(err)
	}
	if l, want := quotaOptions(set, nil, nil).Limits, (quota.Limits{Octets: 501 << 10, Messages: 300, MailSize: 2 << 10, Mailboxes: 7}); l != want {
		t.Errorf("limits %+v, want %+v", l, want)
	}
	if l := quotaOptions(user, nil, nil).Limits; l.Octets != 1001<<10 || l.Messages != 450 {
		t.Errorf("limits of a user: %+v", l)
	}
}

// What [[namespace.mailbox]] says holds for the mailbox of that name.
func TestMailboxSettings(t *testing.T) {
	var boxes []named
	for _, m := range []settings.Mailbox{
		{Name: "Trash", QuotaStoragePercentage: 110, QuotaStorageExtra: 5},
		{Name: "Spool.*", QuotaStoragePercentage: 100, QuotaIgnore: true, Autoexpunge: time.Hour},
		{Name: "Junk", QuotaStoragePercentage: 100, Autoexpunge: 24 * time.Hour, AutoexpungeMaxMails: 9},
	} {
		boxes = append(boxes, named{m, fullName(dots, m.Name)})
	}
	rule := quotaOptions(settings.New(), roots([]mailstore.Namespace{dots}), boxes).Rule
	for name, want := range map[string]quota.Rule{
		"INBOX/Trash": {Percent: 110, ExtraOctets: 5}, "Trash": {}, "INBOX": {}, "INBOX/Spool/a/b": {Class: quota.Ignored, Percent: 100},
		"INBOX/" + held.Root + "/x": {Class: quota.Held}} {
		if got := rule(name); got != want {
			t.Errorf("%s: %+v, want %+v", name, got, want)
		}
	}
	rules := retainRules(boxes)
	if len(rules) != 2 || rules[0] != (retain.Rule{Mailbox: "INBOX/Spool/*", Age: time.Hour}) ||
		rules[1] != (retain.Rule{Mailbox: "INBOX/Junk", Age: 24 * time.Hour, Most: 9}) {
		t.Errorf("%+v", rules)
	}
}

// Every setting of annotations has its place.
func TestAnnotationSettings(t *testing.T) {
	set := settings.New()
	if o := annotationOptions(set); o.Limits != (mailstore.AnnotationLimits{Value: 64 << 10, Entries: 1000}) || o.Server != nil {
		t.Errorf("without settings: %+v", o)
	}
	put(t, set, "imap_metadata_max_size", "2k")
	put(t, set, "imap_metadata_max_entries", int64(20))
	put(t, set, "imap_metadata_admin", "mailto:a@example.org")
	put(t, set, "imap_metadata_comment", "down on Sunday")
	o := annotationOptions(set)
	if o.Limits != (mailstore.AnnotationLimits{Value: 2048, Entries: 20}) || len(o.Server) != 2 ||
		o.Server[0].Entry != "/shared/admin" || string(o.Server[0].Value) != "mailto:a@example.org" ||
		o.Server[1].Entry != "/shared/comment" || string(o.Server[1].Value) != "down on Sunday" {
		t.Errorf("%+v", o)
	}
	put(t, set, "imap_filters", map[string]any{"big": "LARGER 1000000", "all-of-us": "KEYWORD $shared"})
	if o := annotationOptions(set); len(o.Server) != 4 ||
		o.Server[2].Entry != "/shared/filters/values/all-of-us" || string(o.Server[2].Value) != "KEYWORD $shared" ||
		o.Server[3].Entry != "/shared/filters/values/big" || string(o.Server[3].Value) != "LARGER 1000000" {
		t.Errorf("filters: %+v", o.Server)
	}
	for _, bad := range []string{"a/b", "a b", "", "\u00fc"} {
		if set.SetRaw(settings.Lookup("imap_filters"), map[string]any{bad: "ALL"}) == nil {
			t.Errorf("%q is taken for a filter's name", bad)
		}
	}
	for _, bad := range []string{"a@example.org", "mailto:", ":x", "mail to:x", "mailto:a b", "1x:y"} {
		if set.SetRaw(settings.Lookup("imap_metadata_admin"), bad) == nil {
			t.Errorf("%q is taken for a URI", bad)
		}
	}
}

// Each [[quota_warning]] becomes a warning with its own words.
func TestQuotaWarningSettings(t *testing.T) {
	set := settings.New()
	subject, err := settings.ParseTemplate("at %{percent}", []string{"percent", "used", "limit", "user"})
	if err != nil {
		t.Fatal(err)
	}
	settings.Hostname.Put(set, "mx.example")
	set.PutRow("quota_warning", settings.Row{Name: "a", Values: map[string]any{"percentage": int64(80), "subject": subject}})
	set.PutRow("quota_warning", settings.Row{Name: "b", Values: map[string]any{"percentage": int64(95), "resource": "message", "threshold": "under", "from": "help@example", "text": subject}})
	w := warnings(set)
	if len(w) != 2 || w[0].Percent != 80 || w[0].Messages || w[0].Under || w[0].From != "postmaster@mx.example" || w[0].Text != nil ||
		w[0].Subject(map[string]string{"percent": "81"}) != "at 81" {
		t.Errorf("%+v", w)
	}
	if len(w) == 2 && (w[1].Percent != 95 || !w[1].Messages || !w[1].Under || w[1].From != "help@example" || w[1].Subject != nil || w[1].Text == nil) {
		t.Errorf("%+v", w[1])
	}
}
