package mailtool

import (
	"fmt"
	"strings"
	"testing"

	"rookery/internal/ipc/toolmsg"
	"rookery/internal/mailstore"
)

// UIDs, UIDVALIDITY and UIDNEXT come along into an empty mailbox; what has no UID, or
// one that does not ascend, gets the next one.
func TestImportKeepsUIDs(t *testing.T) {
	h := newHome(t)
	s := h.current(t)
	send := func(folder *toolmsg.Folder, uids ...uint32) ([]map[string]any, *toolmsg.Done) {
		t.Helper()
		c := dial(t, h)
		defer c.hang()
		if err := c.flow.Send(&toolmsg.Request{Verb: toolmsg.Import, Options: []string{"keep-uids"}}); err != nil {
			t.Fatal(err)
		}
		if err := c.flow.Send(folder); err != nil {
			t.Fatal(err)
		}
		for i, u := range uids {
			text := fmt.Appendf(nil, "Subject: %d\r\n\r\n", i)
			if err := c.flow.Send(&toolmsg.Item{UID: u, Size: int64(len(text)), Keywords: []string{"$K"}}); err != nil {
				t.Fatal(err)
			}
			if err := c.flow.Send(&toolmsg.Data{Bytes: text, Last: true}); err != nil {
				t.Fatal(err)
			}
		}
		if err := c.flow.Send(&toolmsg.End{}); err != nil {
			t.Fatal(err)
		}
		return c.finish()
	}
	lines, done := send(&toolmsg.Folder{Name: "Old", Subscribed: true, UIDValidity: 77, UIDNext: 30}, 5, 9, 9, 20, 0)
	if done.Exit != 0 || len(lines) != 1 || lines[0]["new_uids"] != 2.0 || lines[0]["imported"] != 5.0 {
		t.Fatalf("%v %+v", lines, done)
	}
	st, err := s.Status("Old", mailstore.StatusWant{})
	if err != nil || st.UIDValidity != 77 || st.UIDNext != 30 || st.Messages != 5 {
		t.Errorf("%+v %v", st, err)
	}
	box, err := s.Open("Old")
	if err != nil {
		t.Fatal(err)
	}
	defer box.Close()
	snap, err := box.Sync()
	if err != nil {
		t.Fatal(err)
	}
	var got []uint32
	for i := range snap.Len() {
		got = append(got, snap.At(i).UID)
	}
	if fmt.Sprint(got) != "[5 9 10 20 21]" {
		t.Errorf("UIDs %v", got)
	}
	if _, done := send(&toolmsg.Folder{Name: "Old", UIDValidity: 77}, 40); done.Exit != exitCreate || !strings.Contains(done.Text, "empty mailbox alone") {
		t.Errorf("%+v", done)
	}
}
