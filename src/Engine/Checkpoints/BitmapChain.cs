// SPDX-License-Identifier: Apache-2.0
using Tidemark.Engine.Machines;

namespace Tidemark.Engine.Checkpoints;

/// <summary>One image of a disk's chain of overlays, with its bitmaps by name.</summary>
public sealed record ChainImage(ImageIdentity? Identity, IReadOnlyDictionary<string, BitmapHealth> Bitmaps);

/// <summary>
/// Which bitmaps of a chain of overlays make up the changes since a checkpoint. A snapshot puts a new image on top, and with it a bitmap
/// of the same name: what was written before lies in the lower one's bitmap, what was written since in the upper one's.
/// </summary>
public static class BitmapChain
{
    /// <summary>
    /// How many images, from the top down, have to be merged: down to the one that was on top when the checkpoint was made, without a
    /// gap. 0 when that image is not in the chain, or a bitmap on the way is missing or has not seen every write.
    /// </summary>
    /// <param name="images">The chain, top first.</param>
    /// <param name="origin">The image that was on top when the checkpoint was made.</param>
    /// <param name="checkpoint">The checkpoint.</param>
    public static int LayersToMerge(IReadOnlyList<ChainImage> images, ImageIdentity origin, string checkpoint)
    {
        for (var layer = 0; layer < images.Count; layer++)
        {
            var image = images[layer];
            if (image.Bitmaps.GetValueOrDefault(checkpoint, BitmapHealth.Broken) != BitmapHealth.Recording)
                return 0;
            if (image.Identity is { } identity && identity.IsSameImageAs(origin))
                return layer + 1;
        }

        return 0;
    }
}
