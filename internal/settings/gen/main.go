// Gen writes the shipped configuration and the documents of the settings from
// their declarations, and the programs' manual pages from their package
// comments: rookery.toml, conf.d/*.toml, docs/SETTINGS.md, docs/man/*.
//
// Its argument is the top of the tree. `make generate` runs it; a test fails
// where a file differs from what it would write.
package main

import (
	"fmt"
	"os"
	"path/filepath"

	"rookery/internal/settings/render"
)

func main() {
	root := "."
	if len(os.Args) > 1 {
		root = os.Args[1]
	}
	files, err := outputs(root)
	if err == nil {
		err = write(root, files)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "gen:", err)
		os.Exit(1)
	}
}

// outputs is the text of each generated file by its path below root.
func outputs(root string) (map[string]string, error) {
	files := map[string]string{
		"rookery.toml":            render.File(render.MainFile, render.Custom{}),
		"docs/SETTINGS.md":        render.Markdown(),
		"docs/man/rookery.toml.5": render.Man(),
	}
	for _, name := range render.Names() {
		files["conf.d/"+name+".toml"] = render.File(name, render.Custom{})
	}
	pages, err := programPages(root)
	for name, text := range pages {
		files["docs/man/"+name] = text
	}
	return files, err
}

func write(root string, files map[string]string) error {
	for name, text := range files {
		full := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
			return err
		}
		if old, err := os.ReadFile(full); err == nil && string(old) == text {
			continue
		}
		if err := os.WriteFile(full, []byte(text), 0o644); err != nil {
			return err
		}
	}
	return nil
}
