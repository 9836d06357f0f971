/* Where something is mounted in the folder, and whether it still is. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "ingest/disk_internal.h"
#include "ingest/paths.h"

static bool is_mounted(int fd)
{
    struct statx x;
    return statx(fd, "", AT_EMPTY_PATH | AT_NO_AUTOMOUNT, 0, &x) == 0 &&
           (x.stx_attributes_mask & STATX_ATTR_MOUNT_ROOT) != 0 &&
           (x.stx_attributes & STATX_ATTR_MOUNT_ROOT) != 0;
}

static bool is_network(int fd)
{
    static const unsigned long kinds[] = {0x6969UL /* NFS */,
                                          0xff534d42UL /* CIFS */,
                                          0xfe534d42UL /* SMB 2 */,
                                          0x517bUL /* SMB */,
                                          0x65735546UL /* FUSE */,
                                          0x01021997UL /* 9p */,
                                          0x00c36400UL /* Ceph */,
                                          0x5346414fUL /* AFS */,
                                          0x6b414653UL /* kAFS */,
                                          0x19830326UL /* BeeGFS */,
                                          0x0bd00bd0UL /* Lustre */};
    struct statfs st;
    if (fstatfs(fd, &st) != 0) {
        return false;
    }
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        if (((unsigned long)st.f_type & 0xffffffffUL) == kinds[i]) {
            return true;
        }
    }
    return false;
}

/* Does nothing lie in it but what is hidden? One that cannot be read may be anything, a share whose
 * server does not answer too: it counts as empty, so that nothing is taken for gone. */
static bool is_empty(int folder)
{
    int fd = openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    if (dir == NULL) {
        if (fd >= 0) {
            (void)close(fd);
        }
        return true;
    }
    bool empty = true;
    for (const struct dirent *e = readdir(dir); e != NULL && empty; e = readdir(dir)) {
        empty = e->d_name[0] == '.';
    }
    (void)closedir(dir);
    return empty;
}

/* Under the lock. */
static struct mount *mount_at(struct disk *d, struct str path)
{
    for (size_t i = 0; i < d->n_mounts; i++) {
        if (str_eq((struct str){d->mounts[i].path, d->mounts[i].len}, path)) {
            return &d->mounts[i];
        }
    }
    return NULL;
}

static void mount_add(struct disk *d, struct str path, bool network)
{
    char *copy = d->n_mounts < DISK_MOUNTS_MAX ? malloc(path.len + 1) : NULL;
    if (copy != NULL) {
        memcpy(copy, path.ptr, path.len);
        copy[path.len] = '\0';
        d->mounts[d->n_mounts++] =
            (struct mount){.path = copy, .len = path.len, .network = network};
        d->mounts_version++;
    }
}

static void mount_forget(struct disk *d, struct mount *m)
{
    free(m->path);
    *m = d->mounts[--d->n_mounts];
    d->mounts_version++;
}

static enum status away(struct error *err, struct str path)
{
    char shown[160];
    path_show(path, shown, sizeof shown);
    return error_set(err, STATUS_UNAVAILABLE,
                     "%s is not mounted: its documents are kept until it is back",
                     path.len == 0 ? "the watched folder" : shown);
}

/* Looks at the disk without the lock, which a share that hangs would keep for long. */
enum status disk_check_mount(struct disk *d, struct str path, int fd, struct error *err)
{
    bool mounted = fd >= 0 && is_mounted(fd);
    bool network = fd >= 0 && (mounted || path.len == 0) && is_network(fd);
    uv_mutex_lock(&d->lock);
    bool was_mounted = mount_at(d, path) != NULL;
    uv_mutex_unlock(&d->lock);
    bool left = !mounted && was_mounted; /* is it away, or an ordinary folder now? */
    bool gone = left && (fd < 0 || is_empty(fd));
    uv_mutex_lock(&d->lock);
    struct mount *m = mount_at(d, path);
    if (mounted && m == NULL) {
        mount_add(d, path, network);
    } else if (mounted) {
        d->rules_changed = d->rules_changed || m->away; /* rules came while nobody could look */
        m->away = false;
        m->network = network;
    } else if (gone && m != NULL) {
        m->away = true;
    } else if (left && m != NULL) {
        d->rules_changed = d->rules_changed || m->away;
        mount_forget(d, m);
    }
    if (path.len == 0 && fd >= 0 && !mounted) {
        d->network = network;
    }
    uv_mutex_unlock(&d->lock);
    return gone ? away(err, path) : STATUS_OK;
}

bool disk_is_away(struct disk *d, struct str path)
{
    bool found = false;
    uv_mutex_lock(&d->lock);
    for (size_t i = 0; i < d->n_mounts && !found; i++) {
        const struct mount *m = &d->mounts[i];
        struct str at = {m->path, m->len};
        found = m->away && (m->len == 0 ||
                            (str_starts(path, at) && path.len > m->len && path.ptr[m->len] == '/'));
    }
    uv_mutex_unlock(&d->lock);
    return found;
}

size_t disk_away(struct disk *d, char *first, size_t cap)
{
    size_t n = 0;
    uv_mutex_lock(&d->lock);
    for (size_t i = 0; i < d->n_mounts; i++) {
        if (d->mounts[i].away && n++ == 0 && cap > 0) {
            path_show((struct str){d->mounts[i].path, d->mounts[i].len}, first, cap);
        }
    }
    uv_mutex_unlock(&d->lock);
    return n;
}

bool disk_is_network(struct disk *d)
{
    uv_mutex_lock(&d->lock);
    bool network = d->network;
    for (size_t i = 0; i < d->n_mounts && !network; i++) {
        network = d->mounts[i].network;
    }
    uv_mutex_unlock(&d->lock);
    return network;
}

/* Each as its length, a colon and its bytes: a path may hold anything but NUL. */
uint64_t disk_mounts(struct disk *d, struct buf *out)
{
    uv_mutex_lock(&d->lock);
    uint64_t version = d->mounts_version;
    for (size_t i = 0; out != NULL && i < d->n_mounts; i++) {
        buf_printf(out, "%zu:", d->mounts[i].len);
        buf_append(out, d->mounts[i].path, d->mounts[i].len);
    }
    uv_mutex_unlock(&d->lock);
    return version;
}

void disk_set_mounts(struct disk *d, struct str kept)
{
    uv_mutex_lock(&d->lock);
    for (size_t at = 0; at < kept.len;) {
        size_t len = 0;
        size_t first = at;
        while (at < kept.len && kept.ptr[at] >= '0' && kept.ptr[at] <= '9' && len < kept.len) {
            len = len * 10 + (size_t)(kept.ptr[at++] - '0');
        }
        if (at == first || at >= kept.len || kept.ptr[at] != ':' || len > kept.len - at - 1) {
            break;
        }
        struct str path = {kept.ptr + at + 1, len};
        if (mount_at(d, path) == NULL) {
            mount_add(d, path, false);
        }
        at += 1 + len;
    }
    uv_mutex_unlock(&d->lock);
}
