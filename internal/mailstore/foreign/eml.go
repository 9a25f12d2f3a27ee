package foreign

import (
	"strings"

	"rookery/internal/vfs"
)

// emlTree is a folder with .eml files and folders with more. A file's time is
// its message's INTERNALDATE, since nothing else in it says when it came.
type emlTree struct {
	fs   vfs.FS
	root string
	file bool // root is one file
}

const emlSuffix = ".eml"

func isEMLName(name string) bool {
	return len(name) > len(emlSuffix) && strings.EqualFold(name[len(name)-len(emlSuffix):], emlSuffix)
}

func isEML(fs vfs.FS, path string, dir bool) bool {
	if !dir {
		return isEMLName(path)
	}
	found, seen := false, 0
	var look func(dir string, depth int)
	look = func(dir string, depth int) {
		all, err := entries(fs, dir)
		if err != nil || depth > maxDepth {
			return
		}
		for _, e := range all {
			if seen++; found || seen > maxFolders {
				return
			}
			if isDir(fs, dir, e) {
				look(join(dir, e.Name), depth+1)
			} else {
				found = isEMLName(e.Name)
			}
		}
	}
	look(path, 0)
	return found
}

func openEML(fs vfs.FS, path string) (Reader, error) {
	info, err := fs.Stat(path)
	if err != nil {
		return nil, err
	}
	return &emlTree{fs, path, !info.IsDir()}, nil
}

func (t *emlTree) Folders() ([]Folder, error) {
	if t.file {
		return []Folder{{}}, nil
	}
	all := func(string, []vfs.DirEntry) bool { return true }
	return folderTree(t.fs, t.root, all, func(string) bool { return true })
}

func (t *emlTree) Read(f Folder, yield func(*Message) error) error {
	if t.file {
		return readFile(t.fs, t.root, &Message{}, yield)
	}
	all, err := entries(t.fs, f.place)
	if err != nil {
		return err
	}
	for _, e := range all {
		if !isEMLName(e.Name) || isDir(t.fs, f.place, e) {
			continue
		}
		if err := readFile(t.fs, join(f.place, e.Name), &Message{}, yield); err != nil {
			return err
		}
	}
	return nil
}

func (*emlTree) Close() error { return nil }
