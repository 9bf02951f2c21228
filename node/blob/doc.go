// Package blob keeps bytes under their SHA-256 in local files.
//
// # Layout
//
// Below the store's root directory, which one process at a time may open:
//
//	sha256/ab/<64 hex>  a blob; ab, its shard, is the first byte of the digest
//	tmp/<random>        a stage: bytes that are not a blob yet
//	aside/<64 hex>[.n]  a corrupt blob, kept as evidence
//
// Directories have mode 0700, files 0600. What stands in sha256 is whole and
// never changes; it only comes, goes, or is moved aside. What stands in tmp
// means nothing, and [Open] removes it.
//
// # A durable write
//
// These system calls, in this order, make a blob durable:
//
//	open    tmp/<random>, O_CREAT|O_EXCL, 0600, in the blob's file system
//	write   … until the end, hashing; then digest and size are compared
//	fsync   tmp/<random>
//	mkdir   sha256/ab   } only if this process has
//	fsync   sha256      } not seen the shard before
//	rename  tmp/<random> to sha256/ab/<64 hex>
//	fsync   sha256/ab
//
// If the blob exists already, its size is compared, it is fsynced in place of
// the rename, and the shard is fsynced all the same: whoever renamed it may not
// have come that far. An existing blob of another size is corrupt and is moved
// aside first. Without the directory fsyncs a power cut loses blobs that were
// reported as stored, seldom enough that no ordinary test notices.
//
// # Crash rules
//
// A crash before the rename leaves a file in tmp. A crash after it leaves a
// whole blob that nobody was told of, and that a power cut may take back. A
// crash after the last fsync loses nothing. Open fsyncs all shards, so what a
// killed process left, and is there at the start, is there to stay.
//
// # When the disk fails
//
// A failed fsync is never tried again: the kernel may have dropped the pages
// and report success the next time. The store is unhealthy from then on (see
// [Store.Err]): reads go on, everything that writes is refused with
// [ErrUnhealthy] until the store is opened anew. A full disk ([ErrNoSpace]) is
// not a fault: the write fails, its temporary file is gone, and the next one
// works as soon as there is room.
//
// # Absence
//
// That a blob is not there is a value (ok is false), never an error, so that a
// fault cannot be mistaken for it. Has, Open and All see a blob from its rename
// on; only a successful Commit or Put says that it is durable, so a blob is
// recorded after one of these and never because Has found it.
package blob
