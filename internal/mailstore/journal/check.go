package journal

import (
	"errors"
	"fmt"
	"io/fs"

	"rookery/internal/errkind"
	"rookery/internal/mailstore"
	"rookery/internal/vfs"
)

// Check looks at the journal in dir as it lies on the disk, touches nothing and
// takes no lock. The one kind it finds is journal-damaged: there is no head, or
// batches that were on the disk cannot be read. Open and Recover mend both, where no
// other process has the journal open.
func Check(disk vfs.FS, dir string, found func(mailstore.Finding)) error {
	j := &Journal{o: Options{FS: disk, Dir: dir}}
	f, err := disk.OpenFile(j.path(FileName), vfs.Read, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return failed("check journal", err)
	}
	defer f.Close()
	tell := func(text, remedy string) {
		found(mailstore.Finding{Kind: "journal-damaged", Text: text, Remedy: remedy})
	}
	_, batches, err := j.readAll(f)
	switch {
	case errkind.Is(err, errkind.Corrupt):
		tell(j.path(FileName)+" cannot be read", "it is kept as "+FileName+".damaged, and a new one is begun")
		return nil
	case err != nil:
		return failed("check journal", err)
	}
	if _, damaged, _ := sound(batches); len(damaged) > 0 {
		tell(fmt.Sprintf("%s: %d of its batches, from number %d on, were on the disk and cannot be read", j.path(FileName), len(damaged), damaged[0]),
			"the others are put where they belong, and it begins anew; no session of the user may be open")
	}
	return nil
}
