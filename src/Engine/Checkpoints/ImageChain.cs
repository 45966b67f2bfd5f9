// SPDX-License-Identifier: Apache-2.0
using Tidemark.Engine.Machines;

namespace Tidemark.Engine.Checkpoints;

/// <summary>
/// Whether the images under a disk now continue those that it had when a checkpoint was made, so that the checkpoint's bitmaps hold all
/// that changed. A snapshot puts a new image on top, and a bitmap of the same name into it. So the chain must lead, through images that
/// each have the bitmap, down to the one that was topmost then, and below that be what it was.
/// Commits into that one are recorded in its bitmap. Those into an image below it are not trusted: where images differ in length, QEMU can
/// show the guest what a shorter one had hidden, and no bitmap knows.
/// What lies below is compared image by image: when a job of QEMU took some of it away nothing changed for the guest, but the same is
/// seen when somebody cut it off while the machine was off, and then everything did.
/// </summary>
internal static class ImageChain
{
    /// <summary>Why the disk is not on the images of before, or on a continuation of them; null when it is.</summary>
    /// <param name="top">The topmost image when the checkpoint was made.</param>
    /// <param name="backing">Those below it, the nearest first.</param>
    /// <param name="disk">The disk now.</param>
    public static string? WhyOther(ImageIdentity top, IReadOnlyList<ImageIdentity?> backing, MachineDisk disk)
    {
        var (now, before) = (Identities(disk), (List<ImageIdentity?>)[top, .. backing]);
        if (Meet(now, before) is not var (layer, then))
            return $"another image is under this disk than at the last backup ({Difference(top, disk.Identity!)})";
        if (then > 0)
        {
            return $"what was above '{now[layer]!.Path}' at the last backup was merged into it or thrown away; after a merge, what a "
                + "shorter image hid can come back without a note in any bitmap";
        }

        var (below, belowThen) = (now[(layer + 1)..], before[(then + 1)..]);
        return below.Count == belowThen.Count && below.Zip(belowThen).All(pair => IsSame(pair.First, pair.Second))
            ? null
            : $"the images below '{now[layer]!.Path}' are not those of the last backup: {Join(belowThen)} before, {Join(below)} now";
    }

    /// <summary>Which image that the changes are collected from lacks the bitmap, or has one that cannot be used; null when none does.
    /// </summary>
    public static string? WhyIncomplete(ImageIdentity top, IReadOnlyList<ImageIdentity?> backing, MachineDisk disk, string checkpoint)
    {
        var layer = Meet(Identities(disk), [top, .. backing])?.Layer ?? 0;
        foreach (var image in disk.Backing.Take(layer))
        {
            if (image.Bitmaps.GetValueOrDefault(checkpoint, BitmapHealth.Broken) != BitmapHealth.Recording)
            {
                return $"the bitmap of checkpoint '{checkpoint}' is missing or inconsistent on image '{image.Identity?.Path}', "
                    + "which has been written to since";
            }

            if (image.Size is { } size && size != disk.Size)
            {
                return $"image '{image.Identity?.Path}' has {size} bytes and the disk on it {disk.Size}: QEMU does not put bitmaps of "
                    + "different lengths together";
            }
        }

        return null;
    }

    private static List<ImageIdentity?> Identities(MachineDisk disk) => [disk.Identity, .. disk.Backing.Select(image => image.Identity)];

    // The first image from the top down that was there before, and how deep it was then.
    private static (int Layer, int Then)? Meet(List<ImageIdentity?> now, List<ImageIdentity?> before)
    {
        for (var layer = 0; layer < now.Count; layer++)
        {
            if (now[layer] is { } identity && before.FindIndex(image => IsSame(image, identity)) is >= 0 and var then)
                return (layer, then);
        }

        return null;
    }

    // Where nothing is known of either image, nothing speaks against it: a guest writes to the topmost one alone.
    private static bool IsSame(ImageIdentity? one, ImageIdentity? other) =>
        one is null ? other is null : other is not null && one.IsSameImageAs(other);

    private static string Difference(ImageIdentity before, ImageIdentity now) =>
        before.Path != now.Path ? $"'{before.Path}' before, '{now.Path}' now"
        : before.Birth != now.Birth ? $"'{now.Path}' was created anew"
        : $"'{now.Path}' is another file";

    private static string Join(List<ImageIdentity?> images) =>
        images.Count == 0 ? "none" : string.Join(", ", images.Select(image => $"'{image?.Path ?? "unknown"}'"));
}
