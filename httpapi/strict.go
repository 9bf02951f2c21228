package httpapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"unicode/utf8"
)

// checkJSON reports what in a JSON text that is decoded into v would be read
// otherwise by others: bytes that are no UTF-8, a key that stands twice, and a key
// that only looks like one of v's, which encoding/json takes for it. Somebody
// between who judges requests might have judged another one.
func checkJSON(text []byte, v any) error {
	if !utf8.Valid(text) {
		return errors.New("it is not valid UTF-8")
	}
	names := fieldNames{known: map[string]bool{}, seen: map[reflect.Type]bool{}}
	names.add(reflect.TypeOf(v))
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber() // whose size is none of ours
	return names.checkValue(d)
}

// fieldNames are the keys of all objects in a type.
type fieldNames struct {
	known map[string]bool // true for a key, false for what is one in lower case only
	seen  map[reflect.Type]bool
}

func (f fieldNames) add(t reflect.Type) {
	if f.seen[t] {
		return
	}
	f.seen[t] = true
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Array, reflect.Map:
		f.add(t.Elem())
	case reflect.Struct:
		for i := range t.NumField() {
			field := t.Field(i)
			name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
			if name == "" {
				name = field.Name
			}
			lower := strings.ToLower(name)
			f.known[lower] = f.known[lower] || lower == name
			f.known[name] = true
			f.add(field.Type)
		}
	}
}

// checkValue checks the next value. What is no JSON it leaves to who decodes it.
func (f fieldNames) checkValue(d *json.Decoder) error {
	token, err := d.Token()
	if err != nil {
		return nil
	}
	delim, _ := token.(json.Delim)
	if delim != '{' && delim != '[' {
		return nil
	}
	keys := map[string]bool{} // in lower case
	for d.More() {
		if delim == '{' {
			token, err := d.Token()
			if err != nil {
				return nil
			}
			if err := f.checkKey(keys, token.(string)); err != nil {
				return err
			}
		}
		if err := f.checkValue(d); err != nil {
			return err
		}
	}
	_, _ = d.Token() // the end of it, if it has one
	return nil
}

func (f fieldNames) checkKey(keys map[string]bool, key string) error {
	lower := strings.ToLower(key)
	if keys[lower] {
		return fmt.Errorf("the key %s stands twice in one object", quote(key))
	}
	keys[lower] = true
	if _, looks := f.known[lower]; looks && !f.known[key] {
		return fmt.Errorf("the key %s is written otherwise", quote(key))
	}
	return nil
}
