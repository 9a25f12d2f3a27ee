package imapworker

import (
	"slices"
	"testing"

	"rookery/internal/mailstore"
	"rookery/internal/mailstore/ownnotes"
	"rookery/internal/vfs"
)

// Annotations of others' mailboxes: shared ones are told both ways at once, private ones
// lie with who made them.
func TestNotesOfOthers(t *testing.T) {
	tn := newTown(t, nil, "ann", "bob", "carol", "team")
	ann, bob, carol := tn.members["ann"].login(), tn.members["bob"].login(), tn.members["carol"].login()
	defer ann.Close()
	defer bob.Close()
	defer carol.Close()
	ann.ok("CREATE Box")
	ann.ok("SETACL Box bob lr")
	ann.ok("SETACL Box carol lr")
	tn.until("ann", "Box:user=bob lr;user=carol lr")
	bob.ok(`NOTIFY SET (SUBTREE "Other Users" (MailboxMetadataChange))`)
	if got := tn.takeReached(); !slices.Equal(got, []string{"bob>ann"}) {
		t.Errorf("NOTIFY started %q", got)
	}
	ann.ok("ENABLE METADATA")
	carol.ok("ENABLE METADATA")
	if got := tn.takeReached(); len(got) > 0 {
		t.Errorf("ENABLE started %q", got)
	}
	carol.ok(`GETMETADATA "Other Users/ann/Box" /shared/comment`)
	ann.ok(`SETMETADATA Box (/shared/comment "for all" /private/comment "hers")`)
	bob.until(`* METADATA "Other Users/ann/Box" /shared/comment`)
	ann.send("i IDLE\r\n")
	ann.until("+ idling")
	carol.send("i IDLE\r\n")
	carol.until(`* METADATA "Other Users/ann/Box" /shared/comment`)
	bob.ok(`SETMETADATA "Other Users/ann/Box" (/private/comment "his" /shared/by "bob")`)
	ann.until("* METADATA Box /shared/by")
	carol.until(`* METADATA "Other Users/ann/Box" /shared/by`)
	for _, d := range []*dialogue{ann, carol} {
		d.send("DONE\r\n")
		d.until("i OK")
	}
	const asked = ` (/private/comment /shared/comment /shared/by)`
	for _, c := range []struct {
		d          *dialogue
		name, want string
	}{
		{ann, "Box", `* METADATA Box (/private/comment "hers" /shared/comment "for all" /shared/by "bob")`},
		{bob, `"Other Users/ann/Box"`, `* METADATA "Other Users/ann/Box" (/private/comment "his" /shared/comment "for all" /shared/by "bob")`},
		{carol, `"Other Users/ann/Box"`, `* METADATA "Other Users/ann/Box" (/private/comment NIL /shared/comment "for all" /shared/by "bob")`},
	} {
		if got := c.d.ok("GETMETADATA " + c.name + asked); !slices.Contains(got, c.want) {
			t.Errorf("%q, want %s", got, c.want)
		}
	}
	for user, want := range map[string]bool{"ann": false, "bob": true, "carol": false} {
		if _, err := tn.members[user].disk.Stat(ownnotes.File); (err == nil) != want || err != nil && !vfs.NotExist(err) {
			t.Errorf("the file of %s: %v", user, err)
		}
	}

	// The way is lost and found again.
	tn.sendAway()
	tn.serving.Wait()
	if got := carol.ok(`GETMETADATA "Other Users/ann/Box" /shared/by`); !slices.Contains(got, `* METADATA "Other Users/ann/Box" (/shared/by "bob")`) {
		t.Errorf("over a new channel: %q", got)
	}
	carol.ok("NOOP")
	ann.ok("SETMETADATA Box (/shared/late \"x\")")
	carol.send("i IDLE\r\n")
	carol.until(`* METADATA "Other Users/ann/Box" /shared/late`)
	// Somebody else than a session changes the owner's.
	if _, err := mailstore.AnnotatorOf(tn.members["ann"].server.shared).Annotate("Box", []mailstore.Annotation{{Entry: "/shared/beside", Value: []byte("x")}}); err != nil {
		t.Fatal(err)
	}
	carol.until(`* METADATA "Other Users/ann/Box" /shared/beside`)
	carol.send("DONE\r\n")
	carol.until("i OK")
}
