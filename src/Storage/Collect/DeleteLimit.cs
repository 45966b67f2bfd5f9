// SPDX-License-Identifier: Apache-2.0
namespace Tidemark.Storage;

/// <summary>Much going at once is more often a mistake than a wish (I18).</summary>
internal static class DeleteLimit
{
    /// <exception cref="CollectionRefusedException">More than <paramref name="maxPercent"/> of the stored bytes would go.</exception>
    public static void Check(CollectorView view, IReadOnlyList<ChosenPack> chosen, double maxPercent)
    {
        var stored = view.Packs.Values.Sum();

        // What never belonged to a point is no one's loss.
        var freed = chosen.Where(choice => choice.Why != PackChoice.Orphan).Sum(choice => choice.Freed);
        if (freed <= stored * (maxPercent / 100))
            return;
        var percent = 100.0 * freed / stored;
        throw new CollectionRefusedException(FormattableString.Invariant(
            $"Collecting would delete {freed} of {stored} bytes, {percent:0.#} %; at most {maxPercent:0.#} % are allowed at once."));
    }
}
