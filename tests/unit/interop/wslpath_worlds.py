"""The worlds in which wslpath's cases take place: mount tables and environments."""

from __future__ import annotations

OURS = r"""
22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/sdb rw,discard
23 22 0:21 / /proc rw,nosuid - proc proc rw
24 22 0:5 / /dev rw,nosuid master:2 propagate_from:1 - devtmpfs devtmpfs rw,size=4k
25 22 0:22 / /run/empty rw - tmpfs  rw,size=1024k
30 22 0:40 / /mnt/c rw,noatime - fuse.drvfs C:\134 rw,user_id=0,group_id=0,allow_other
31 22 0:41 / /mnt/d rw,noatime - fuse.drvfs D:\134 rw,user_id=0,group_id=0,allow_other
32 22 0:42 / /mnt/my\040drive rw,noatime - fuse.drvfs E:\134 rw,user_id=0,group_id=0
33 22 0:43 / /mnt/share rw,noatime - fuse.drvfs \134\134server\134share rw,user_id=0
34 22 0:44 / /data rw,noatime - fuse.drvfs D:\134data\134sets rw,user_id=0,group_id=0
35 22 0:40 /Users/me/projects /srv/projects rw,noatime - fuse.drvfs C:\134 rw,user_id=0
36 22 0:45 /a:b /srv/colon rw,noatime - fuse.drvfs F:\134 rw,user_id=0
37 22 0:40 /gone//deleted /srv/removed rw,noatime - fuse.drvfs C:\134 rw,user_id=0
38 22 0:46 / /home/sshfs rw - fuse.sshfs C:\134 rw,user_id=0
""".lstrip()

WSL = r"""
60 50 8:32 / / rw,relatime - ext4 /dev/sdc rw,discard,errors=remount-ro,data=ordered
61 60 0:50 / /mnt/c rw,noatime - 9p C:\134 rw,aname=drvfs;path=C:\;uid=0;symlinkroot=/mnt/,mmap
62 60 0:51 / /mnt/d rw,noatime - 9p drvfs rw,dirsync,aname=drvfs;path=D:\134;uid=1000,trans=fd,rfd=8
63 60 0:52 / /mnt/e rw - 9p  rw,aname=drvfs;path=E:\134e\040mpty;metadata,access=client
64 60 0:53 / /mnt/f rw,noatime - drvfs F:/ rw,case=off
65 60 0:54 / /mnt/unc rw - 9p drvfs rw,aname=drvfs;path=UNC\localhost\C$;uid=0,trans=fd
66 60 0:55 / /mnt/other rw - 9p hostshare rw,aname=/srv,trans=virtio
67 60 0:56 / /mnt/pathless rw - 9p drvfs rw,aname=drvfs;uid=0
68 60 0:57 / /mnt/relative rw - drvfs G:x rw
69 60 0:58 / /mnt/odd rw - 9p drvfs rw,aname=drvfs;path=odd
a line that is no mount
""".lstrip()

HIDDEN = r"""
22 1 254:0 / / rw - ext4 /dev/sdb rw
30 22 0:40 / /mnt/c rw - fuse.drvfs C:\134 rw
31 22 0:41 / /mnt rw - tmpfs tmpfs rw
32 31 0:42 / /mnt/d rw - fuse.drvfs D:\134 rw
33 32 0:43 / /mnt/d/tmp rw - tmpfs tmpfs rw
34 22 0:44 / /e rw - fuse.drvfs E:\134 rw
35 34 0:45 / /e rw - fuse.drvfs F:\134 rw
36 22 0:46 / /g rw - fuse.drvfs G:\134 rw
37 36 0:47 / /g/deep rw - fuse.drvfs H:\134 rw
38 22 0:46 / /g2 rw - fuse.drvfs G:\134 rw
""".lstrip()

PLAIN = r"""
22 1 254:0 / / rw - ext4 /dev/sdb rw
30 22 0:40 / /mnt/c rw - fuse.drvfs C:\134 rw
""".lstrip()

WORLDS: dict[str, dict[str, object]] = {
    "ours": {
        "mountinfo": OURS,
        "environment": {"WSL_DISTRO_NAME": "Debian"},
        "distribution": "not asked",
    },
    "wsl": {
        "mountinfo": WSL,
        "environment": {"WSL_DISTRO_NAME": "Ubuntu-24.04"},
        "distribution": "not asked",
    },
    "hidden": {
        "mountinfo": HIDDEN,
        "environment": {"WSL_DISTRO_NAME": "Debian"},
        "distribution": "not asked",
    },
    "asked": {"mountinfo": PLAIN, "environment": {}, "distribution": "Alpine"},
    "empty name": {
        "mountinfo": PLAIN,
        "environment": {"WSL_DISTRO_NAME": ""},
        "distribution": "Alpine",
    },
    "nameless": {"mountinfo": PLAIN, "environment": {}, "distribution": ""},
}
