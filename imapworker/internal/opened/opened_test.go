package opened

import (
	"strings"
	"testing"
)

// Lists of the same fields are one fact; a name that no field can have, which
// could look like a list of others, is none.
func TestFieldsKey(t *testing.T) {
	key := FieldsKey([]string{"Subject", "FROM", "subject"})
	if key != "imap.header from subject" || key != FieldsKey([]string{"from", "Subject"}) {
		t.Errorf("key %q", key)
	}
	for _, names := range [][]string{nil, {"from subject"}, {"a:"}, {"\u00fc"}, {"a\x7f"}, {strings.Repeat("x", 200)}} {
		if key := FieldsKey(names); key != "" {
			t.Errorf("%q is kept as %q", names, key)
		}
	}
	if !HoldsField(key, "SUBJECT") || HoldsField(key, "sub") || HoldsField("mime.tree", "mime.tree") {
		t.Error("fields of a list are not found, or others are")
	}
}
