package master

import (
	"testing"

	"rookery/internal/settings"
)

// mail_shared_uid_unprotected decides where this system cannot keep users of
// one uid apart.
func TestSharedUIDSetting(t *testing.T) {
	set := settings.New()
	settings.MailUID.Put(set, "5000")
	settings.MailGID.Put(set, "5000")
	if !policySharesUnprotected(set) {
		t.Error("users who share a uid are not refused")
	}
	settings.MailSharedUIDUnprotected.Put(set, true)
	if policySharesUnprotected(set) {
		t.Error("mail_shared_uid_unprotected = true changes nothing")
	}
	if policySharesUnprotected(settings.New()) {
		t.Error("users with uids of their own are refused")
	}
}
