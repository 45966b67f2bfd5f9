// SPDX-License-Identifier: Apache-2.0
using Tidemark.Engine.Checkpoints;
using Tidemark.Engine.Machines;

namespace Tidemark.Engine.Tests;

/// <summary>E1b: only a continuation of the images of before will do, with the bitmap in all that was written to since.</summary>
public sealed class ImageChainTests
{
    private const string Checkpoint = "c";

    // A letter is an image, the topmost first; a capital one has the checkpoint's bitmap, '!' after it says that it is broken. The
    // topmost bitmap is judged elsewhere.
    [Theory]
    [InlineData("A", "a", "")]
    [InlineData("Ab", "ab", "")]
    [InlineData("XAb", "ab", "")] // a snapshot
    [InlineData("XYAb", "ab", "")] // two
    [InlineData("B", "ab", "was merged into it")] // committed back
    [InlineData("Bc", "abc", "was merged into it")]
    [InlineData("C", "abc", "was merged into it")] // … two at once
    [InlineData("XB", "ab", "was merged into it")] // … and a snapshot after that
    [InlineData("XyAb", "ab", "on image '/y'")] // the lower snapshot by somebody who knew nothing of bitmaps
    [InlineData("XY!Ab", "ab", "on image '/y'")]
    [InlineData("Xab", "ab", "on image '/a'")]
    [InlineData("Xb", "ab", "was merged into it")] // thrown away and begun anew, not committed
    [InlineData("X", "ab", "another image")]
    [InlineData("Xx", "", "another image")]
    [InlineData("A", "ab", "'/b' before, none now")] // pulled, or cut off
    [InlineData("Ac", "abc", "'/b', '/c' before, '/c' now")] // committed in the middle, or cut out
    [InlineData("Ax", "ab", "'/b' before, '/x' now")] // rebased
    [InlineData("Abx", "ab", "not those of the last backup")]
    [InlineData("Ab", "a", "none before, '/b' now")]
    [InlineData("Acb", "abc", "not those of the last backup")]
    public void ImagesNow_ContinueThoseOfBefore(string now, string before, string reason)
    {
        var disk = Disk(now);
        var top = before.Length == 0 ? Image('z') : Image(before[0]);
        var backing = before.Skip(1).Select(Image).ToList<ImageIdentity?>();
        var said = ImageChain.WhyOther(top, backing, disk) ?? ImageChain.WhyIncomplete(top, backing, disk, Checkpoint) ?? "";
        if (reason.Length == 0)
            Assert.Empty(said);
        else
            Assert.Contains(reason, said, StringComparison.Ordinal);
    }

    private static MachineDisk Disk(string images)
    {
        var layers = new List<BackingImage>();
        foreach (var letter in images)
        {
            if (letter == '!')
                layers[^1] = layers[^1] with { Bitmaps = Bitmaps(BitmapHealth.Broken) };
            else
                layers.Add(new BackingImage(
                    Image(letter), 1 << 20, Bitmaps(char.IsUpper(letter) ? BitmapHealth.Recording : null)));
        }

        return new MachineDisk
        {
            Name = "vda",
            Kind = "file",
            Format = "qcow2",
            Path = null,
            Serial = null,
            Size = 1 << 20,
            Identity = layers[0].Identity,
            Bitmaps = layers[0].Bitmaps,
            Backing = layers[1..],
            Untrackable = null,
        };
    }

    private static Dictionary<string, BitmapHealth> Bitmaps(BitmapHealth? health) =>
        health is null ? [] : new Dictionary<string, BitmapHealth>(StringComparer.Ordinal) { [Checkpoint] = health.Value };

    private static ImageIdentity Image(char letter)
    {
        var name = char.ToLowerInvariant(letter);
        return new ImageIdentity($"/{name}", "8:1", $"{(int)name}", "1.0");
    }
}
