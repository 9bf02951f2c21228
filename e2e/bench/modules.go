package main

import (
	"archive/zip"
	"bytes"
	"fmt"
	"math/rand/v2"
)

// moduleZip returns the zip of a module version with size bytes of content that
// can't be compressed.
func moduleZip(path, version string, size int) ([]byte, error) {
	var buf bytes.Buffer
	w := zip.NewWriter(&buf)
	files := map[string][]byte{"go.mod": goMod(path), "data.bin": random(path+version, size)}
	for _, name := range []string{"go.mod", "data.bin"} {
		f, err := w.CreateHeader(&zip.FileHeader{Name: path + "@" + version + "/" + name, Method: zip.Store})
		if err != nil {
			return nil, err
		}
		if _, err := f.Write(files[name]); err != nil {
			return nil, err
		}
	}
	err := w.Close()
	return buf.Bytes(), err
}

func goMod(path string) []byte { return fmt.Appendf(nil, "module %s\n\ngo 1.21\n", path) }

// random returns bytes that depend on seed alone.
func random(seed string, size int) []byte {
	var s [32]byte
	copy(s[:], seed)
	for i := range seed {
		s[i%32] ^= seed[i]
	}
	b := make([]byte, size)
	rand.NewChaCha8(s).Read(b)
	return b
}
