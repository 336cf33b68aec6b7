"""What the virtual machine boots: kernels, initramfs, the read-only system image, their cache."""
